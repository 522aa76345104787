use IO::Socket::UNIX;
IO::Socket::UNIX->new("/tmp/demo/nope.sock") or die "no daemon at /tmp/demo/nope.sock\n";
