# Attributes of the own process: privileges, signals, descriptors, limits, environment, directory.
grep -E '^(Umask|TracerPid|Uid|Gid|FDSize|Groups|Sig[BIC]|ShdPnd|Cap|NoNew|Seccomp|Cpus_allowed)' /proc/self/status
for fd in /proc/self/fd/*; do echo "${fd##*/}"; done
for fd in 0 1 2; do readlink "/proc/$$/fd/$fd" | sed 's/\[.*//'; grep flags "/proc/$$/fdinfo/$fd"; done
cat /proc/self/limits /proc/self/oom_score_adj /proc/self/personality /proc/self/cgroup
awk '{ print $18, $19, $41 }' /proc/self/stat
env | grep -v ^_= | sort
pwd
umask
nice
