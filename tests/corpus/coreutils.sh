# Output and exit codes of coreutils, with large and small writes, on both streams.
export LC_ALL=C TZ=UTC
seq 1 20000
seq 1 3000 | sort -rn | uniq | tail -n 5
printf '%s\n' one two three | tee copy | wc -l
head -c 300000 /dev/zero | base64 | md5sum
head -c 200000 /dev/zero | tr '\0' 'z' >big
cat big big | cut -c 1-100 | head -c 50
cat big
cp big other && cmp big other && sha256sum other
dd if=big of=part bs=7 count=1001 status=noxfer
dd if=big bs=4096 status=none | tail -c 3
od -A x -t x1z -N 64 /etc/passwd
ls -a --color=always
ls nonexistent
echo $?
cat nonexistent /etc/hostname /
echo $?
touch -d 2020-02-02T02:02:02Z big && stat -c '%n %s %y' big
split -n 3 --verbose big piece && cat piece* | cmp - big
paste <(seq 3) <(seq 4 6) | expand
nl /etc/passwd | tac | fold -w 30 | rev 2>&1
timeout 0.05 sleep 5
echo $?
sh -c 'timeout -s KILL 0.05 sleep 5; echo $?'
env -i A=b env
stdbuf -o0 printf 'un'; stdbuf -oL printf 'buffered\n'
factor 1234567890 && numfmt --to=iec 123456789
expr 1 / 0
echo $?
test -t 1; echo "a terminal: $?"
yes | head -n 30000 | wc -c
yes stop | head -n 2
exit 42
