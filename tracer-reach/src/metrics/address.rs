//! Where metrics are asked for: a TCP address or a unix socket.

use std::{
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    str::FromStr,
};

use super::MetricsError;

/// Access to a unix socket: by its owner.
const MODE: u32 = 0o600;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            let is_file = path.is_absolute() && path.file_name().is_some();
            return match is_file {
                true => Ok(Self::Unix(path)),
                false => Err("after `unix:` comes the whole path of the socket, such as unix:/run/tracer/metrics.sock".into()),
            };
        }
        let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        let local = local.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        local.or_else(|| text.parse().ok()).map(Self::Tcp).ok_or_else(|| {
            "it is an IP address with a port, such as 127.0.0.1:9753 or [::1]:9753, or unix:PATH"
                .into()
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "http://{address}/metrics"),
            Self::Unix(path) => write!(formatter, "the unix socket {}", path.display()),
        }
    }
}

impl Address {
    /// Whether other machines may reach it.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().is_loopback(),
            Self::Unix(_) => false,
        }
    }
}

/// Somewhere to listen, and the listener.
#[derive(Debug)]
pub struct Listening {
    pub(super) socket: Socket,
    /// The file of a unix socket.
    pub(super) file: Option<Removed>,
    address: Address,
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A socket file that is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // The next recorder removes what is left.
        let _ = fs::remove_file(&self.0);
    }
}

impl Listening {
    /// Listens.
    ///
    /// # Errors
    /// [`MetricsError`] if another program listens there already, or if this is not allowed.
    pub fn at(address: &Address) -> Result<Self, MetricsError> {
        let failed = |source| match io::Error::kind(&source) {
            io::ErrorKind::AddrInUse => MetricsError::InUse { address: address.clone() },
            _ => MetricsError::Listen { address: address.clone(), source },
        };
        match address {
            Address::Tcp(wanted) => {
                let listener = TcpListener::bind(wanted).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                // The port, if the system has chosen it.
                let address = Address::Tcp(listener.local_addr().map_err(failed)?);
                Ok(Self { socket: Socket::Tcp(listener), file: None, address })
            }
            Address::Unix(path) => {
                let listener = unix(path).map_err(failed)?;
                let file = Some(Removed(path.clone()));
                Ok(Self { socket: Socket::Unix(listener), file, address: address.clone() })
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }
}

/// Listens at a unix socket. One that a killed process has left behind is replaced.
fn unix(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let text = "a file with this name is there that is no socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_both_kinds_and_wrong_ones_are_told() {
        let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
        for (text, address, is_open) in [
            ("127.0.0.1:9753", tcp("127.0.0.1:9753"), false),
            ("localhost:9753", tcp("127.0.0.1:9753"), false),
            ("[::1]:80", tcp("[::1]:80"), false),
            ("0.0.0.0:9753", tcp("0.0.0.0:9753"), true),
            ("192.168.0.7:1", tcp("192.168.0.7:1"), true),
            ("unix:/run/m.sock", Address::Unix("/run/m.sock".into()), false),
        ] {
            let read: Address = text.parse().unwrap();
            assert_eq!((&read, read.is_open()), (&address, is_open));
        }
        for wrong in ["", "9753", "example.org:80", "127.0.0.1", "unix:", "unix:m.sock", "unix:/"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_socket_of_a_killed_process_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let address = Address::Unix(folder.path().join("m.sock"));
        let path = folder.path().join("m.sock");
        drop(UnixListener::bind(&path).unwrap());
        let first = Listening::at(&address).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let second = Listening::at(&address).unwrap_err().to_string();
        assert!(second.contains("another program") && second.contains("m.sock"), "{second}");
        drop(first);
        assert!(!path.exists());
        fs::write(&path, "a file").unwrap();
        let error = Listening::at(&address).unwrap_err().to_string();
        assert!(error.contains("that is no socket"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"a file");
    }
}
