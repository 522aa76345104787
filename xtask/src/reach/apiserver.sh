# Builds Debian's kube-apiserver in the folder $1, and puts it there with etcd. Nothing is installed: Go and etcd are
# unpacked beside the source. What is there already is not done again.
set -eu
mkdir -p "$1/work/lists/partial" "$1/work/archives/partial" "$1/work/debs" "$1/work/tree"
cd "$1/work"
top=$PWD
printf '%s http://deb.debian.org/debian bookworm main\n' "deb" "deb-src" >sources.list
apt() {
    apt-get -qq -o "Dir::Etc::sourcelist=$top/sources.list" -o Dir::Etc::sourceparts=- \
        -o "Dir::State::Lists=$top/lists" -o "Dir::Cache=$top" -o APT::Sandbox::User=root \
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}
apt update
(cd debs && apt download golang-1.19-go golang-1.19-src etcd-server rsync)
for package in debs/*.deb; do
    dpkg-deb --extract "$package" tree
done
[ -d kubernetes-* ] || apt source --only-source kubernetes
cd kubernetes-*/
GOROOT=$top/tree/usr/lib/go-1.19 GOCACHE=$top/go-cache PATH=$top/tree/usr/lib/go-1.19/bin:$top/tree/usr/bin:$PATH
export GOROOT GOCACHE PATH
make WHAT=cmd/kube-apiserver GOFLAGS=-mod=vendor
cp "$top/tree/usr/bin/etcd" "$1/etcd"
cp _output/local/bin/linux/*/kube-apiserver "$1/partial"
mv "$1/partial" "$1/kube-apiserver"
rm -rf "$top"
