# Output of git in a new repository with fixed dates and names.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_PAGER=cat LC_ALL=C TZ=UTC
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@example.org
export GIT_AUTHOR_DATE='2020-02-02T02:02:02Z' GIT_COMMITTER_DATE='2020-02-02T02:02:02Z'
git -c init.defaultBranch=main init repository && cd repository || exit 1
seq 1 5000 >numbers
printf 'first\n' >text
git add . && git commit -m first
seq 1 2 9000 >numbers
printf 'first\nsecond\n' >text
git status --short --branch
git diff --stat
git diff
git commit -a -m second
git log --stat -p
git checkout -b side HEAD~1 && printf 'other\n' >text && git commit -a -m side
git merge main
echo "merge: $?"
git merge --abort
git rev-parse HEAD main
git cat-file -p HEAD^{tree}
git fsck --no-progress --strict
git clone --no-local --progress . ../clone 2>&1 >/dev/null | tr '\r' '\n' | grep -c done
git log --nonexistent-option
echo $?
git show nonexistent
