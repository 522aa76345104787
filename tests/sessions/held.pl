for (1 .. 5) { print "line $_\n"; select undef, undef, undef, 0.3 }
