//! Traps in directories that all users may write to, and paths that are harmless.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown, symlink},
};

use tempfile::{TempDir, tempdir};

use super::*;

const OTHER_USER: Option<u32> = Some(65_534);

/// A directory that all users may write to, like /tmp.
fn shared() -> TempDir {
    let directory = tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o1777)).unwrap();
    directory
}

/// Only root can give a file to another user.
fn is_root() -> bool {
    geteuid().is_root()
}

fn refusal(path: &Path) -> String {
    open(path).unwrap_err().to_string()
}

#[test]
fn a_new_file_and_an_old_one_are_private_and_the_old_one_is_kept() {
    let directory = tempdir().unwrap();
    let old = directory.path().join("old");
    fs::write(&old, "content").unwrap();
    fs::set_permissions(&old, Permissions::from_mode(0o644)).unwrap();
    for path in [directory.path().join("new"), old.clone()] {
        open(&path).unwrap();
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o600);
    }
    assert_eq!(fs::read_to_string(old).unwrap(), "content");
}

#[test]
fn a_link_in_place_of_the_file_is_refused_everywhere() {
    let directory = tempdir().unwrap();
    let link = directory.path().join("link");
    symlink(directory.path().join("nowhere"), &link).unwrap();
    assert_eq!(refusal(&link), "it is a symbolic link: name the file itself");
    assert!(!directory.path().join("nowhere").exists());
    let shared = shared();
    let link = shared.path().join("link");
    symlink(directory.path().join("nowhere"), &link).unwrap();
    if is_root() {
        std::os::unix::fs::lchown(&link, OTHER_USER, None).unwrap();
    }
    assert_eq!(refusal(&link), "it is a symbolic link: name the file itself");
    assert!(!directory.path().join("nowhere").exists());
}

#[test]
fn a_link_on_the_way_is_followed_unless_it_may_be_a_trap() {
    let (shared, aim) = (shared(), tempdir().unwrap());
    let link = shared.path().join("link");
    symlink(aim.path(), &link).unwrap();
    open(&link.join("one")).unwrap();
    assert!(aim.path().join("one").exists());
    if !is_root() {
        return;
    }
    std::os::unix::fs::lchown(&link, OTHER_USER, None).unwrap();
    let said = refusal(&link.join("two"));
    assert!(said.contains("link of uid 65534") && said.contains("/link is a"), "{said}");
    assert!(!aim.path().join("two").exists());
    // A harmless link to that link is refused as well.
    let private = tempdir().unwrap();
    symlink(&link, private.path().join("first")).unwrap();
    assert!(refusal(&private.path().join("first/three")).contains("uid 65534"));
    assert!(!aim.path().join("three").exists());
    // In a directory to which only its owner may write, the file is accepted.
    fs::set_permissions(shared.path(), Permissions::from_mode(0o755)).unwrap();
    open(&link.join("four")).unwrap();
}

#[test]
fn relative_links_dots_and_the_kernel_s_own_links_lead_where_they_should() {
    let directory = tempdir().unwrap();
    fs::create_dir_all(directory.path().join("a/b")).unwrap();
    symlink("a/b", directory.path().join("c")).unwrap();
    open(&directory.path().join("c/../../a/./b/file")).unwrap();
    assert!(directory.path().join("a/b/file").exists());
    let root = format!("/proc/self/root{}/a/other", directory.path().display());
    open(Path::new(&root)).unwrap();
    assert!(directory.path().join("a/other").exists());
    symlink("loop", directory.path().join("loop")).unwrap();
    let looped = open(&directory.path().join("loop/file")).unwrap_err();
    assert_eq!(io::Error::from(looped).raw_os_error(), Some(libc::ELOOP));
}

#[test]
fn what_is_no_place_for_a_file_is_refused_in_the_system_s_words() {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    let inside = directory.path().join("file/x");
    let missing = directory.path().join("missing/x");
    let slash = PathBuf::from(format!("{}/x/", directory.path().display()));
    for (path, errno) in [
        (inside.as_path(), libc::ENOTDIR),
        (&missing, libc::ENOENT),
        (&slash, libc::EISDIR),
        (directory.path(), libc::EISDIR),
        (Path::new("/"), libc::EISDIR),
        (Path::new(""), libc::ENOENT),
    ] {
        let error = io::Error::from(open(path).unwrap_err());
        assert_eq!(error.raw_os_error(), Some(errno), "{}", path.display());
    }
}

#[test]
fn files_of_others_and_second_names_are_refused_where_all_users_could_put_them() {
    let directory = shared();
    let [own, twice, theirs] = ["own", "twice", "theirs"].map(|name| directory.path().join(name));
    for path in [&own, &twice, &theirs] {
        fs::write(path, "x").unwrap();
    }
    open(&own).unwrap();
    fs::hard_link(&twice, directory.path().join("again")).unwrap();
    assert!(refusal(&twice).starts_with("it has another name"));
    if !is_root() {
        return;
    }
    chown(&theirs, OTHER_USER, None).unwrap();
    let mode = fs::metadata(&theirs).unwrap().mode();
    assert!(refusal(&theirs).starts_with("it belongs to uid 65534"));
    assert_eq!(fs::metadata(&theirs).unwrap().mode(), mode, "it was changed");
    // As with fs.protected_regular, a file of the directory's owner is accepted.
    chown(directory.path(), OTHER_USER, None).unwrap();
    open(&theirs).unwrap();
    chown(directory.path(), Some(0), None).unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    open(&theirs).unwrap();
    open(&twice).unwrap();
}
