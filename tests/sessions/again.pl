use Fcntl;
fcntl(STDOUT, F_SETFL, fcntl(STDOUT, F_GETFL, 0) | O_NONBLOCK);
for (1 .. 40) {
    until (defined syswrite(STDOUT, "x" x 4096)) { select undef, undef, undef, 0.05 }
}
