use Fcntl;
fcntl(STDOUT, F_SETFL, fcntl(STDOUT, F_GETFL, 0) | O_NONBLOCK);
1 while defined syswrite(STDOUT, "x" x 4096);
