//! The user that a command runs as: ids, groups and environment variables.
//!
//! The user database is read from its files, or through getent(1) and id(1). libc's own functions would load the
//! plug-ins that nsswitch.conf names. In a statically linked program these crash; glibc's FAQ warns of that, and
//! `systemd` in nsswitch.conf is enough.

use std::{ffi::OsString, path::Path, process::Command};

use rustix::{
    process::{Gid, Uid},
    thread::{set_thread_gid, set_thread_groups, set_thread_uid},
};

use super::LaunchError;
use crate::sys::bounded;

/// What the kernel needs to know of a user.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    home: String,
}

/// A line of passwd(5).
#[derive(Debug, PartialEq, Eq)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

/// Looks up a user by name, or by number if no user has that name.
pub(super) fn find(name: &str) -> Result<Identity, LaunchError> {
    find_in(Path::new("/etc"), name)
}

fn find_in(etc: &Path, name: &str) -> Result<Identity, LaunchError> {
    let unknown = || LaunchError::UnknownUser { name: name.to_owned() };
    // No user has such a name, and the programs below would take it for an option.
    if name.is_empty() || name.starts_with('-') {
        return Err(unknown());
    }
    let local = bounded::text(etc.join("passwd")).unwrap_or_default();
    let account = find_account(&local, name)
        .or_else(|| find_account(&answer_of("getent", &["passwd", name])?, name))
        .ok_or_else(unknown)?;
    let groups = answer_of("id", &["-G", &account.name])
        .and_then(|groups| parse_groups(&groups))
        .unwrap_or_else(|| {
            let local = bounded::text(etc.join("group")).unwrap_or_default();
            local_groups(&local, &account)
        });
    Ok(Identity {
        uid: Uid::from_raw(account.uid),
        gid: Gid::from_raw(account.gid),
        groups: groups.into_iter().map(Gid::from_raw).collect(),
        home: account.home,
        name: account.name,
    })
}

/// tracer's environment, with the variables that name the user replaced.
pub(super) fn environment(
    own: impl Iterator<Item = (OsString, OsString)>,
    identity: Option<&Identity>,
) -> Vec<(OsString, OsString)> {
    let Some(identity) = identity else { return own.collect() };
    let replaced =
        [("HOME", &identity.home), ("USER", &identity.name), ("LOGNAME", &identity.name)];
    let is_kept = |name: &OsString| replaced.iter().all(|(replaced, _)| name != replaced);
    let mut variables: Vec<_> = own.filter(|(name, _)| is_kept(name)).collect();
    variables.extend(replaced.map(|(name, value)| (OsString::from(name), OsString::from(value))));
    variables
}

impl Identity {
    /// Makes the calling process this user for good. It is meant for the child after fork: that has one thread, so
    /// calls that change a thread change the process.
    pub(super) fn assume(&self) -> rustix::io::Result<()> {
        // Groups come first: setting them needs root's rights.
        set_thread_groups(&self.groups)?;
        set_thread_gid(self.gid)?;
        set_thread_uid(self.uid)
    }
}

fn find_account(passwd: &str, name: &str) -> Option<Account> {
    let accounts = || passwd.lines().filter_map(parse_account);
    let number: Option<u32> = name.parse().ok();
    accounts()
        .find(|account| account.name == name)
        .or_else(|| accounts().find(|account| Some(account.uid) == number))
}

fn parse_account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let _password = fields.next()?;
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let _description = fields.next()?;
    Some(Account { name, uid, gid, home: fields.next()?.to_owned() })
}

fn parse_groups(numbers: &str) -> Option<Vec<u32>> {
    numbers.split_whitespace().map(|number| number.parse().ok()).collect()
}

/// The account's own group, and the groups of group(5) that list it.
fn local_groups(group: &str, account: &Account) -> Vec<u32> {
    let mut groups = vec![account.gid];
    for line in group.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [_name, _password, number, members] = fields[..] else { continue };
        let is_member = members.split(',').any(|member| member == account.name);
        if let (true, Ok(number)) = (is_member, number.parse()) {
            groups.push(number);
        }
    }
    groups
}

/// Output of a program; `None` if the program does not exist or fails.
fn answer_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn a_user_that_only_getent_knows_is_found() {
        let empty = tempfile::tempdir().unwrap();
        if answer_of("getent", &["passwd", "root"]).is_some() {
            assert_eq!(find_in(empty.path(), "root").unwrap().uid, Uid::ROOT);
        }
    }

    #[test]
    fn files_alone_are_enough() {
        let etc = tempfile::tempdir().unwrap();
        let passwd =
            "broken line\nroot:x:0:0:root:/root:/bin/sh\nmaker-x:x:4242:50:A, B:/home/m:\n";
        fs::write(etc.path().join("passwd"), passwd).unwrap();
        let group = "staff:x:50:\nvideo:x:44:other,maker-x\naudio:x:29:maker\nbad:x:y:maker-x\n";
        fs::write(etc.path().join("group"), group).unwrap();
        for name in ["maker-x", "4242"] {
            let maker = find_in(etc.path(), name).unwrap();
            assert_eq!((maker.name.as_str(), maker.home.as_str()), ("maker-x", "/home/m"));
            assert_eq!((maker.uid, maker.gid), (Uid::from_raw(4242), Gid::from_raw(50)));
            assert_eq!(maker.groups, [Gid::from_raw(50), Gid::from_raw(44)]);
        }
    }

    #[test]
    fn an_unknown_user_is_reported() {
        for name in ["no such user", "4294967294", "zero\0byte", "", "-s"] {
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
        let expected =
            [("HOME", root.home.as_str()), ("LOGNAME", "root"), ("PATH", "/bin"), ("USER", "root")];
        assert_eq!(variables, expected.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(environment(own.clone().into_iter(), None), own);
    }
}
