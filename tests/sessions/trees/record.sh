#!/bin/bash
# Records sessions of real trees in /tmp/demo: `bash record.sh TRACER FUNCTION…`, as root; the functions are below.
# The table in tracer/src/render/tests/trees.rs says what each is. Nothing else outlives the run.
set -eu
if [ "${IN_NAMESPACE:-}" != yes ]; then
  tracer=$(realpath "$1"); shift
  rust=$(rustc --print sysroot 2>/dev/null || true)
  [ ! -e /tmp/demo ] || { echo "/tmp/demo exists"; exit 1; }
  mkdir -p /tmp/demo/home /tmp/demo/rust
  cp "$0" /tmp/demo/record.sh; cp "$tracer" /tmp/demo/tracer
  # The kernel of `cargo xtask vm`, for the machine.
  cp "$HOME"/.cache/tracer/kernels/6.12/vmlinuz-* /tmp/demo/vmlinuz || true
  folder=$(dirname "$(realpath "$0")")
  cd /tmp/demo
  env -i PATH=/usr/sbin:/usr/bin:/bin IN_NAMESPACE=yes RUST="$rust" \
    setsid unshare -m bash record.sh "$@" </dev/null >record.out 2>&1 || true
  cat record.out; install -m 644 ./*.session "$folder"
  [ -n "${KEEP:-}" ] || rm -r /tmp/demo
  exit
fi

# Mounts of its own: neutral names, and no files elsewhere.
mount --make-rprivate /
mount -t tmpfs none /run; mount -t tmpfs none /var/log
if [ -n "$RUST" ]; then mount --bind "$RUST" rust; fi
sed '/^demo:/d' /etc/passwd >passwd; echo "demo:x:1500:1500::/tmp/demo/home:/bin/sh" >>passwd
mount --bind passwd /etc/passwd
unset RUST IN_NAMESPACE OLDPWD

# On a terminal, as a person runs it: `script` reads the terminal.
on_a_terminal() { TERM=dumb HOME=/tmp/demo/home script -qec "$*" /dev/null >terminal.out </dev/null || [ $? = 1 ]; }
# Attaches tracer to processes, and waits until the trace has begun.
attach() {
  local name=$1 begun; shift
  mkfifo "$name.begun"
  ./tracer --no-live --color never --record "$name.session" -o /dev/null "$@" 2>"$name.begun" &
  trace=$!
  # tracer's first line on stderr says that it began.
  exec {begun}<"$name.begun"; read -r line <&"$begun"; cat <&"$begun" >"$name.err" & rm "$name.begun"
  echo "$name: $line"
}
detach() { sleep 0.3; kill -INT "$trace"; wait "$trace" || true; }

make_j4() {
  mkdir make; cd make
  {
    echo "OBJECTS := \$(shell seq -f part%g.o 1 24)"
    echo "all: app docs tests version"
    printf '%%.o: %%.c\n\tcc -Wall -c -o $@ $<\n'
    printf 'app: main.o $(OBJECTS)\n\tcc -o $@ $^\n'
    printf 'docs: $(patsubst %%,page%%.txt,1 2 3 4 5 6 7 8)\n'
    printf 'page%%.txt:\n\tseq 1 50 >$@\n'
    printf 'tests: app\n\t./app\n\t./app --long | head -n 1\n\t-./app --long | sh collect.sh\n\t@echo tests passed\n'
    printf 'version:\n\tgrep -c . Makefile\n\tdate -u -r Makefile +%%Y >$@\n'
  } >Makefile
  for n in $(seq 24); do
    echo "int part$n(int a) { int unused; return a + $n; }" >part$n.c
  done
  sed -i 's/int unused; //' part[1-9].c part1[0-9].c part2[0-2].c
  cat >main.c <<'C'
#include <stdio.h>
int main(int argc, char **argv) {
  (void)argv;
  for (int n = 0; n < (argc > 1 ? 100000 : 10); n++) printf("case %d passed\n", n);
  return 0;
}
C
  echo 'read -r line; echo "collect: no database" >&2; exit 1' >collect.sh
  on_a_terminal /tmp/demo/tracer -q --no-live --record ../make.session -o /dev/null -- make -j4
}

cargo_build() {
  mkdir -p cargo/src; cd cargo
  printf '[package]\nname = "tiny"\nversion = "0.1.0"\nedition = "2021"\n' >Cargo.toml
  echo 'fn main() { println!("cargo:rerun-if-changed=build.rs"); }' >build.rs
  echo 'fn main() { let unused = 1; println!("tiny"); }' >src/main.rs
  export PATH=/tmp/demo/rust/bin:$PATH CARGO_HOME=/tmp/demo/home/cargo
  on_a_terminal /tmp/demo/tracer -q --no-live --record ../cargo.session -o /dev/null -- cargo build --offline
}

with_docker() {
  export DOCKER_HOST=unix:///run/docker.sock HOME=/tmp/demo/home
  echo '{}' >daemon.json
  dockerd --config-file /tmp/demo/daemon.json --data-root /tmp/demo/docker --exec-root /run/docker \
    -H $DOCKER_HOST -p /run/docker.pid --bridge=none --iptables=false --ip6tables=false -s vfs 2>dockerd.err &
  daemon=$!
  for _ in $(seq 100); do docker version >/dev/null 2>&1 && break; sleep 0.1; done
  mkdir -p image/bin; cp "$(command -v busybox)" image/bin/busybox
  for tool in sh cat seq sleep echo; do ln -sf busybox "image/bin/$tool"; done
  tar -C image -c . | docker import - box >/dev/null
}
without_docker() { kill "$daemon"; wait "$daemon" || true; }

docker_run() {
  with_docker
  on_a_terminal /tmp/demo/tracer -q --no-live --record docker-run.session -o /dev/null -- \
    docker run --rm --network none box sh -c "'seq 1 2000; echo warning >&2'"
  without_docker
}

docker_exec() {
  with_docker
  docker run -d --name web --network none box sh -c 'while sleep 1; do echo request; done' >/dev/null
  attach docker-exec --container web
  docker exec web seq 1 500 >exec.out
  # The client is killed; the job in the container writes on.
  docker exec web sh -c 'echo begins; sleep 1; seq 1 100' >exec2.out & client=$!
  sleep 0.5; kill -KILL $client; sleep 1.5
  docker logs web >logs.out
  detach
  docker rm -f web >/dev/null
  without_docker
}

supervisord() {
  cat >web.sh <<'S'
#!/bin/sh
for n in $(seq 40); do echo "GET /page$n 200"; sleep 0.1; done
exec sleep 60
S
  sed 's/GET.*200/job $n done/; s/sleep 0.1/sleep 0.2/' web.sh >worker.sh
  cat >supervisord.conf <<'C'
[supervisord]
nodaemon=true
silent=true
logfile=/tmp/demo/supervisord.log
pidfile=/tmp/demo/supervisord.pid
[program:web]
command=/bin/sh /tmp/demo/web.sh
stdout_logfile=/tmp/demo/web.log
redirect_stderr=true
[program:worker]
command=/bin/sh -c "exec /bin/sh /tmp/demo/worker.sh >/dev/null 2>&1"
C
  /usr/bin/supervisord -c supervisord.conf & daemon=$!
  until grep -q 'spawned: .worker' supervisord.log 2>/dev/null; do sleep 0.1; done
  attach supervisord --pid "$daemon"
  sleep 3
  detach
  kill "$daemon"; wait "$daemon" || true
}

tmux_server() {
  cat >build.sh <<'S'
until [ -e go ]; do sleep 0.1; done
seq 1 400
echo "build finished"
sleep 60
S
  cat >tail.sh <<'S'
until [ -e go ]; do sleep 0.1; done
while :; do echo "a line of the log"; done
S
  t() { TERM=xterm tmux -S /tmp/demo/tmux.sock -f /dev/null "$@"; }
  t new-session -d -s work -n build "exec sh build.sh"
  t new-window -d -t work -n tail "exec sh tail.sh"
  daemon=$(t display -p '#{pid}')
  attach tmux --pid "$daemon"
  touch go; sleep 1
  t kill-window -t work:tail
  sleep 1
  detach
  t kill-server
}

nginx_server() {
  mkdir -p nginx/html; echo "hello" >nginx/html/index.html
  cat >nginx/nginx.conf <<'C'
daemon off;
pid /tmp/demo/nginx/nginx.pid;
worker_processes 2;
error_log stderr;
events {}
http {
  access_log /dev/stdout;
  server { listen 127.0.0.1:8087; root /tmp/demo/nginx/html; }
}
C
  { ./tracer -q --no-live --record nginx.session -o /dev/null -- \
    nginx -p /tmp/demo/nginx -c nginx.conf | cat >nginx.out; } 2>&1 | cat >nginx.err &
  until curl -s http://127.0.0.1:8087/ >/dev/null; do sleep 0.1; done
  for n in $(seq 20); do curl -s "http://127.0.0.1:8087/?$n" >/dev/null; done
  curl -s http://127.0.0.1:8087/missing >/dev/null
  sleep 0.3; kill -QUIT "$(cat nginx/nginx.pid)"; wait
}

ci_script() {
  mkdir -p ci/src; cd ci
  for n in 1 2 3 4 5; do printf 'def f%s():\n    return %s  \n' $n $n >src/m$n.py; done
  cat >deploy.sh <<'S'
echo "uploading release.tar"
echo "error: 403 Forbidden: the key has expired" >&2
exit 1
S
  cat >ci.sh <<'S'
#!/bin/bash
set -u
work=$(mktemp -d /tmp/demo/ci.XXXXXX); trap 'rm -rf "$work"' EXIT
status=0
echo "--- lint"
grep -n ' $' src/*.py
echo "--- tests"
python3 -m compileall -f src | tail -n 2
for n in $(seq 3); do python3 -c "for i in range(20000): print('test', i, 'passed')"; done |
  grep -q passed && echo "tests passed"
echo "--- package"
tar cvf release.tar src
echo "--- deploy"
sh deploy.sh >"$work/deploy.log" 2>&1 || { echo "deploy failed"; status=1; }
exit $status
S
  { ../tracer -q --no-live --record ../ci.session -o /dev/null -- bash ci.sh 2>&1 || true; } | cat >../ci.out
}

ssh_session() {
  mkdir -p /run/sshd sshd home/.ssh
  ssh-keygen -q -t ed25519 -N '' -C demo -f sshd/host; ssh-keygen -q -t ed25519 -N '' -C demo -f sshd/user
  cp sshd/user.pub home/.ssh/authorized_keys; chown -R 1500:1500 home; chmod 755 home; chmod 700 home/.ssh
  cat >sshd/config <<'C'
Port 2287
ListenAddress 127.0.0.1
HostKey /tmp/demo/sshd/host
PidFile none
UsePAM no
C
  /usr/sbin/sshd -D -f /tmp/demo/sshd/config -E /tmp/demo/sshd/log & daemon=$!
  sleep 0.5
  attach ssh --pid "$daemon"
  ssh -F /dev/null -i sshd/user -p 2287 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null demo@127.0.0.1 \
    'seq 1 3000; ls /missing; echo done' >ssh.out 2>ssh.err
  ssh -F /dev/null -tt -i sshd/user -p 2287 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
    demo@127.0.0.1 'uname -s; seq 1 20' >ssh2.out 2>ssh2.err </dev/null
  detach
  kill "$daemon"; wait "$daemon" || true
  rm -r sshd
}

# A virtual machine whose init, shell and services are those of busybox.
machine() {
  mkdir -p vm; cd vm
  mkdir -p bin etc proc sys dev tmp run root var/log var/www lib64 lib/x86_64-linux-gnu
  for tool in $(busybox --list); do ln -s /bin/busybox "bin/$tool"; done
  rm bin/busybox; cp "$(command -v busybox)" bin/busybox; ln -s /bin/busybox init
  cp -L /lib/x86_64-linux-gnu/{libgcc_s.so.1,libm.so.6,libc.so.6} lib/x86_64-linux-gnu/
  cp -L /lib64/ld-linux-x86-64.so.2 lib64/; strip -g ../tracer -o bin/tracer
  cat >etc/inittab <<'C'
::sysinit:/etc/boot
::respawn:/bin/syslogd -n -O /var/log/messages
::respawn:/bin/httpd -f -vv -h /var/www
::respawn:/etc/app
::respawn:/etc/metrics
::once:/etc/record
C
  cat >etc/boot <<'S'
#!/bin/sh
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev; mount -t bpf none /sys/fs/bpf
mount -t debugfs none /sys/kernel/debug; mount -t tracefs none /sys/kernel/tracing; mount -t cgroup2 none /sys/fs/cgroup
hostname host1; ip link set lo up; echo hello >/var/www/index.html
S
  cat >etc/app <<'S'
#!/bin/sh
exec >>/var/log/app.log 2>&1
while sleep 0.5; do echo "request done"; done
S
  cat >etc/metrics <<'S'
#!/bin/sh
exec >/dev/null 2>&1
while sleep 0.5; do cat /proc/loadavg; done
S
  cat >etc/nightly <<'S'
#!/bin/sh
cd /tmp
echo "nightly begins" | logger -t nightly
{ sleep 0.3; seq 1 20000; } | head -n 1 >/var/log/nightly.first
du -k /bin | tail -n 1
tar cf backup.tar -v /etc >/var/log/backup.log
{ seq 1 200; sleep 1; } | sleep 1
echo "nightly ends" | logger -t nightly
S
  cat >etc/record <<'S'
#!/bin/sh
exec </dev/null >/dev/ttyS0 2>&1
cd /root; export PATH=/usr/sbin:/usr/bin:/bin
sleep 3
tracer -q --no-live --record machine.session -o /dev/null --pid 1 --duration 12s &
until [ -s machine.session ]; do sleep 0.2; done
sleep 4
sh /etc/nightly
wget -q -O - http://127.0.0.1/index.html
wait
echo "@@ begin"; gzip -c machine.session | base64; echo "@@ end"
ls -l /var/log
poweroff -f
S
  chmod +x etc/boot etc/app etc/metrics etc/nightly etc/record
  find . | busybox cpio -o -H newc >../vm.cpio 2>/dev/null; cd ..
  timeout 600 qemu-system-x86_64 -nodefaults -display none -serial stdio -no-reboot -machine q35 -accel tcg \
    -cpu max,-cx16,-la57 -smp 1 -m 1G -kernel vmlinuz -initrd vm.cpio \
    -append 'console=ttyS0 panic=-1 quiet mitigations=off watchdog_thresh=60' >vm.out
  sed -n '/@@ begin/,/@@ end/p' vm.out | grep -v @@ | tr -d '\r' | base64 -d | gzip -d >machine.session
}

for name; do ("$name") || echo "$name: $?"; done
