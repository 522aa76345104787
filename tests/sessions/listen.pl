use IO::Socket::INET;
my $l = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1:7007", ReuseAddr => 1) or die;
my $c = $l->accept; 1 while sysread $c, my $x, 99;
