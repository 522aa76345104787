//! The user a command is run as: ids, groups and the variables that follow from them.

use std::{
    ffi::{CString, OsString},
    io,
    path::PathBuf,
};

use nix::unistd;
use rustix::{
    process::{Gid, Uid},
    thread::{set_thread_gid, set_thread_groups, set_thread_uid},
};

use super::LaunchError;

/// All that the kernel needs to know of a user.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    home: PathBuf,
}

/// Looks a user up by name, or by number where no user has such a name.
pub(super) fn find(name: &str) -> Result<Identity, LaunchError> {
    let failed = |errno: nix::Error| LaunchError::UserLookup {
        name: name.to_owned(),
        source: io::Error::from(errno),
    };
    let mut user = unistd::User::from_name(name).map_err(failed)?;
    if let (None, Ok(number)) = (&user, name.parse()) {
        user = unistd::User::from_uid(unistd::Uid::from_raw(number)).map_err(failed)?;
    }
    let unknown = || LaunchError::UnknownUser { name: name.to_owned() };
    let user = user.ok_or_else(unknown)?;
    let login = CString::new(user.name.as_str()).map_err(|_| unknown())?;
    // Looked up here because the database may not be asked between fork and exec.
    let groups = unistd::getgrouplist(&login, user.gid).map_err(failed)?;
    Ok(Identity {
        uid: Uid::from_raw(user.uid.as_raw()),
        gid: Gid::from_raw(user.gid.as_raw()),
        groups: groups.into_iter().map(|group| Gid::from_raw(group.as_raw())).collect(),
        home: user.dir,
        name: user.name,
    })
}

/// The tracer's environment with the variables that name the user replaced.
pub(super) fn environment(
    own: impl Iterator<Item = (OsString, OsString)>,
    identity: Option<&Identity>,
) -> Vec<(OsString, OsString)> {
    let Some(identity) = identity else { return own.collect() };
    let replaced = [
        ("HOME", identity.home.clone().into_os_string()),
        ("USER", OsString::from(&identity.name)),
        ("LOGNAME", OsString::from(&identity.name)),
    ];
    let is_kept = |name: &OsString| replaced.iter().all(|(replaced, _)| name != replaced);
    let mut variables: Vec<_> = own.filter(|(name, _)| is_kept(name)).collect();
    variables.extend(replaced.map(|(name, value)| (OsString::from(name), value)));
    variables
}

impl Identity {
    /// Makes the calling process this user for good; meant for the child after fork, which has one
    /// thread only, so the calls that change one thread change the process.
    pub(super) fn assume(&self) -> rustix::io::Result<()> {
        // The groups first: without root's rights they could not be set any more.
        set_thread_groups(&self.groups)?;
        set_thread_gid(self.gid)?;
        set_thread_uid(self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_by_number() {
        for name in ["root", "0"] {
            let root = find(name).unwrap();
            assert_eq!((root.name.as_str(), root.uid), ("root", Uid::ROOT));
            assert!(root.groups.contains(&Gid::ROOT));
        }
    }

    #[test]
    fn an_unknown_user_is_reported() {
        for name in ["no such user", "4294967294", "zero\0byte"] {
            let error = find(name).unwrap_err();
            assert!(matches!(error, LaunchError::UnknownUser { .. }), "{name:?}: {error}");
        }
    }

    #[test]
    fn variables_that_name_the_user_are_replaced_once() {
        let own = [("HOME", "/old"), ("PATH", "/bin"), ("USER", "old")]
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let root = find("root").unwrap();
        let mut variables = environment(own.clone().into_iter(), Some(&root));
        variables.sort();
        let expected = [
            ("HOME", root.home.to_str().unwrap()),
            ("LOGNAME", "root"),
            ("PATH", "/bin"),
            ("USER", "root"),
        ];
        assert_eq!(variables, expected.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(environment(own.clone().into_iter(), None), own);
    }
}
