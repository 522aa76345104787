//! Owners of folders, their content, and names that an index must not have.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
};

use tempfile::{TempDir, tempdir};

use super::*;

fn place() -> (TempDir, PathBuf) {
    let parent = tempdir().unwrap();
    let path = parent.path().join("out");
    (parent, path)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_folder_and_its_files_are_private() {
    let (_parent, path) = place();
    let folder = Folder::create(&path).unwrap();
    folder.create_file("session").unwrap();
    assert_eq!((mode(&path), mode(&path.join("session"))), (0o700, 0o600));
    assert_eq!(folder.path(), path);
}

#[test]
fn an_empty_directory_is_taken_and_made_private() {
    let (_parent, path) = place();
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    Folder::create(&path.join("")).unwrap();
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn what_is_there_is_left_alone() {
    let (parent, path) = place();
    fs::write(&path, "mine").unwrap();
    assert!(matches!(Folder::create(&path), Err(FolderError::NotADirectory { .. })));
    let full = parent.path();
    let before = mode(full);
    assert!(matches!(Folder::create(full), Err(FolderError::NotEmpty { .. })));
    assert_eq!(mode(full), before, "of a directory that is not used");
    let deep = parent.path().join("a/b");
    assert!(matches!(Folder::create(&deep), Err(FolderError::NoParent { .. })));
}

#[test]
fn a_link_is_not_followed_even_with_a_slash_behind_it() {
    let (parent, path) = place();
    let aim = parent.path().join("aim");
    fs::create_dir(&aim).unwrap();
    symlink(&aim, &path).unwrap();
    let slash = PathBuf::from(format!("{}/", path.display()));
    let dot = PathBuf::from(format!("{}/.", path.display()));
    for path in [&path, &slash, &dot] {
        assert!(matches!(Folder::create(path), Err(FolderError::Symlink { .. })), "{path:?}");
        assert!(matches!(Folder::open(path), Err(FolderError::Symlink { .. })), "{path:?}");
    }
    let dangling = parent.path().join("dangling");
    symlink(parent.path().join("nowhere"), &dangling).unwrap();
    assert!(matches!(Folder::create(&dangling), Err(FolderError::Symlink { .. })));
}

#[test]
fn the_directory_of_another_user_is_refused() {
    // This directory belongs to root on every system.
    let theirs = Path::new("/proc/sys");
    if fs::metadata(theirs).unwrap().uid() != geteuid().as_raw() {
        assert!(matches!(Folder::create(theirs), Err(FolderError::NotOurs { .. })));
        return;
    }
    let (_parent, path) = place();
    fs::create_dir(&path).unwrap();
    std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    let error = Folder::create(&path).unwrap_err();
    assert!(error.to_string().contains("belongs to uid 65534"), "{error}");
}

#[test]
fn a_file_is_never_made_twice_nor_through_a_link() {
    let (parent, path) = place();
    let folder = Folder::create(&path).unwrap();
    folder.create_file("index").unwrap();
    assert!(folder.create_file("index").is_err());
    symlink(parent.path().join("aim"), path.join("link")).unwrap();
    assert!(folder.create_file("link").is_err());
    assert!(folder.append_to("link").is_err());
    assert!(!parent.path().join("aim").exists());
}

#[test]
fn the_folder_stays_the_same_when_its_path_leads_elsewhere() {
    let (parent, path) = place();
    let folder = Folder::create(&path).unwrap();
    fs::rename(&path, parent.path().join("moved")).unwrap();
    fs::create_dir(&path).unwrap();
    folder.create_file("session").unwrap();
    assert!(parent.path().join("moved/session").exists());
    assert!(!path.join("session").exists());
}

/// A folder as another user could have made it.
fn capture() -> (TempDir, PathBuf, Folder) {
    let (parent, path) = place();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("index"), "").unwrap();
    fs::write(path.join("a"), "0123456789").unwrap();
    let folder = Folder::open(&path).unwrap();
    (parent, path, folder)
}

#[test]
fn names_out_of_an_index_lead_nowhere_else() {
    let (_parent, path, folder) = capture();
    let long = "x".repeat(256);
    for name in ["", ".", "..", "/etc/passwd", "../aim", "a/b", "a\0", &long] {
        assert!(matches!(folder.open_file(name), Err(FolderError::BadName { .. })), "{name}");
    }
    symlink("/etc/passwd", path.join("link")).unwrap();
    symlink("/", path.join("root")).unwrap();
    fs::create_dir(path.join("directory")).unwrap();
    sys::mknodat(CWD, path.join("fifo"), FileType::Fifo, PRIVATE_FILE, 0).unwrap();
    for name in ["link", "root", "directory", "fifo"] {
        let error = folder.open_file(name).unwrap_err();
        assert!(matches!(error, FolderError::NotAFile { .. }), "{name}: {error}");
    }
    assert!(matches!(folder.open_file("none"), Err(FolderError::Io { .. })));
}

#[test]
fn a_part_of_a_file_is_read_or_said_to_be_missing() {
    let (_parent, path, folder) = capture();
    assert_eq!(folder.read_range("a", 2, 3).unwrap(), b"234");
    assert_eq!(folder.read_range("a", 10, 0).unwrap(), b"");
    for (offset, length) in [(8, 3), (11, 0), (u64::MAX, 2), (0, READ_LIMIT)] {
        let error = folder.read_range("a", offset, length).unwrap_err();
        assert!(matches!(error, FolderError::Short { .. }), "{offset} {length}: {error}");
    }
    let sparse = fs::File::create(path.join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    let error = folder.read_range("sparse", 0, 1 << 40).unwrap_err();
    assert!(matches!(error, FolderError::TooLong { .. }), "{error}");
    let mut copy = Vec::new();
    folder.copy_range("sparse", 1 << 39, 5, &mut copy).unwrap();
    assert_eq!(copy, [0; 5]);
}

#[test]
fn a_directory_without_an_index_is_no_capture() {
    let (_parent, path) = place();
    fs::create_dir(&path).unwrap();
    assert!(matches!(Folder::open(&path), Err(FolderError::NotACapture { .. })));
    assert!(matches!(Folder::open(&path.join("a")), Err(FolderError::Io { .. })));
}
