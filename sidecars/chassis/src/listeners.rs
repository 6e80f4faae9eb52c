//! The listening sockets of a slot's functions: the ports in the order of `OUTRIGGER_LISTEN`, then
//! the Unix sockets in the same order, if there are any.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{SocketAddrAny, SocketAddrUnix, SocketType, getsockname, sockopt};

use crate::settings::FunctionPort;

/// Containers of the application run as users of their own.
const SOCKET_MODE: u32 = 0o666;

/// The listening sockets of all functions. Duplicates share the kernel's queue of connections, so
/// as long as anyone holds one, a connect waits instead of being refused.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// One for each function.
    ports: Vec<TcpListener>,
    /// One for each function, or none.
    sockets: Vec<UnixListener>,
}

/// The listeners cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoListeners {
    /// The first port is taken, as it is when the other slot was first.
    #[error("the other slot, or a container of the pod, listens on port {port}")]
    Taken { port: u16 },
    #[error("port {port} of function {function} cannot be listened on: {error}")]
    Bind {
        function: String,
        port: u16,
        error: io::Error,
    },
    #[error("the Unix socket of function {function} cannot be listened on: {error}")]
    BindSocket { function: String, error: io::Error },
    #[error("{found} descriptors arrived for {expected} functions")]
    Count { found: usize, expected: usize },
    #[error("the descriptor for function {function} does not listen on its port {port}")]
    Foreign { function: String, port: u16 },
    #[error("the descriptor for function {function} is not its Unix socket")]
    ForeignSocket { function: String },
    #[error("a listener could not be made non-blocking: {0}")]
    Blocking(io::Error),
}

impl Listeners {
    /// Listens on every function's port and Unix socket, or on none.
    ///
    /// Both slots of a pod may try at the same time: they try the ports in the same order, so the
    /// first port decides between them.
    pub(crate) fn bind(ports: &[FunctionPort]) -> Result<Listeners, NoListeners> {
        let mut listeners = Vec::with_capacity(ports.len());
        for wanted in ports {
            let FunctionPort { function, port, .. } = wanted;
            let bound = bind(wanted.address, *port).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(listener)
            });
            match bound {
                Ok(listener) => listeners.push(listener),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && listeners.is_empty() => {
                    return Err(NoListeners::Taken { port: *port });
                }
                Err(error) => {
                    return Err(NoListeners::Bind {
                        function: function.clone(),
                        port: *port,
                        error,
                    });
                }
            }
        }
        Ok(Listeners {
            ports: listeners,
            sockets: bind_sockets(ports)?,
        })
    }

    /// Takes descriptors that another process passed, if they are what the functions listen on.
    ///
    /// A slot whose program knows no Unix sockets passes none: then they are bound here.
    pub(crate) fn received(
        mut descriptors: Vec<OwnedFd>,
        ports: &[FunctionPort],
    ) -> Result<Listeners, NoListeners> {
        let wanted = ports.iter().filter_map(wanted_socket);
        let expected = ports.len() + wanted.clone().count();
        if descriptors.len() != expected && descriptors.len() != ports.len() {
            return Err(NoListeners::Count {
                found: descriptors.len(),
                expected,
            });
        }
        let sockets = descriptors.split_off(ports.len());
        for (descriptor, wanted) in descriptors.iter().zip(ports) {
            if !listens_on(descriptor.as_fd(), wanted) {
                return Err(NoListeners::Foreign {
                    function: wanted.function.clone(),
                    port: wanted.port,
                });
            }
        }
        for (descriptor, (wanted, path)) in sockets.iter().zip(wanted) {
            if !(is_listener(descriptor.as_fd()) && is_at(descriptor.as_fd(), path)) {
                return Err(NoListeners::ForeignSocket {
                    function: wanted.function.clone(),
                });
            }
        }
        let sockets = match sockets.is_empty() {
            true => bind_sockets(ports)?,
            false => sockets.into_iter().map(UnixListener::from).collect(),
        };
        let listeners = Listeners {
            ports: descriptors.into_iter().map(TcpListener::from).collect(),
            sockets,
        };
        // They are non-blocking, unless something other than a slot passed them.
        let ports = listeners
            .ports
            .iter()
            .map(|port| port.set_nonblocking(true));
        let sockets = listeners.sockets.iter();
        let sockets = sockets.map(|socket| socket.set_nonblocking(true));
        ports
            .chain(sockets)
            .collect::<io::Result<()>>()
            .map_err(NoListeners::Blocking)?;
        Ok(listeners)
    }

    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut descriptors = self.ports_only();
        descriptors.extend(self.sockets.iter().map(AsFd::as_fd));
        descriptors
    }

    /// What a slot can take whose program knows no Unix sockets.
    pub(crate) fn ports_only(&self) -> Vec<BorrowedFd<'_>> {
        self.ports.iter().map(AsFd::as_fd).collect()
    }

    pub(crate) fn duplicate(&self) -> io::Result<Listeners> {
        let ports = self.ports.iter().map(TcpListener::try_clone);
        let sockets = self.sockets.iter().map(UnixListener::try_clone);
        Ok(Listeners {
            ports: ports.collect::<io::Result<_>>()?,
            sockets: sockets.collect::<io::Result<_>>()?,
        })
    }

    /// The listeners of the ports and of the Unix sockets, each in the order of the functions.
    pub(crate) fn into_inner(self) -> (Vec<TcpListener>, Vec<UnixListener>) {
        (self.ports, self.sockets)
    }
}

/// A socket on every address of version 6 takes both versions, where there is version 6.
fn bind(address: IpAddr, port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((address, port)) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse && is_everywhere(address) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        }
        bound => bound,
    }
}

fn is_everywhere(address: IpAddr) -> bool {
    address.is_ipv6() && address.is_unspecified()
}

fn wanted_socket(wanted: &FunctionPort) -> Option<(&FunctionPort, &Path)> {
    Some((wanted, wanted.socket.as_deref()?))
}

fn bind_sockets(ports: &[FunctionPort]) -> Result<Vec<UnixListener>, NoListeners> {
    let wanted = ports.iter().filter_map(wanted_socket);
    let bound = wanted.map(|(FunctionPort { function, .. }, path)| {
        bind_socket(path).map_err(|error| NoListeners::BindSocket {
            function: function.clone(),
            error,
        })
    });
    bound.collect()
}

/// The name appears in one step, in place of a former socket's, and is open to every user then.
fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    let draft = bound_as(path);
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&draft)?;
    listener.set_nonblocking(true)?;
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    std::fs::rename(draft, path)?;
    Ok(listener)
}

/// The name under which the socket at a path was bound, which the kernel keeps.
fn bound_as(path: &Path) -> PathBuf {
    let mut draft = OsString::from(path);
    draft.push(".new");
    draft.into()
}

/// Whether a socket, or the listener that it was accepted from, is the one at a path.
pub(crate) fn is_at(descriptor: BorrowedFd<'_>, path: &Path) -> bool {
    let bound = SocketAddrUnix::new(bound_as(path)).map(SocketAddrAny::from);
    getsockname(descriptor).is_ok_and(|found| Ok(found) == bound)
}

fn is_listener(descriptor: BorrowedFd<'_>) -> bool {
    sockopt::socket_type(descriptor) == Ok(SocketType::STREAM)
        && sockopt::socket_acceptconn(descriptor) == Ok(true)
}

fn listens_on(descriptor: BorrowedFd<'_>, wanted: &FunctionPort) -> bool {
    let socket = |address: IpAddr| SocketAddrAny::from(SocketAddr::from((address, wanted.port)));
    let is_wanted = |found: &SocketAddrAny| {
        *found == socket(wanted.address)
            || (is_everywhere(wanted.address) && *found == socket(Ipv4Addr::UNSPECIFIED.into()))
    };
    is_listener(descriptor) && getsockname(descriptor).is_ok_and(|found| is_wanted(&found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_ports(count: u16) -> Vec<FunctionPort> {
        let held: Vec<_> = (0..count)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
            .collect();
        held.iter()
            .map(|listener| FunctionPort {
                function: "echo".into(),
                address: Ipv4Addr::LOCALHOST.into(),
                port: listener.local_addr().unwrap().port(),
                socket: None,
            })
            .collect()
    }

    fn duplicates(listeners: &Listeners) -> Vec<OwnedFd> {
        listeners
            .descriptors()
            .iter()
            .map(|descriptor| descriptor.try_clone_to_owned().unwrap())
            .collect()
    }

    #[test]
    fn the_first_port_decides_between_two_slots() {
        let ports = free_ports(2);
        let first = Listeners::bind(&ports).unwrap();
        assert!(matches!(
            Listeners::bind(&ports),
            Err(NoListeners::Taken { port }) if port == ports[0].port
        ));
        drop(first);
        let _foreign = TcpListener::bind((Ipv4Addr::LOCALHOST, ports[1].port)).unwrap();
        assert!(matches!(
            Listeners::bind(&ports),
            Err(NoListeners::Bind { port, .. }) if port == ports[1].port
        ));
        assert!(Listeners::bind(&ports[..1]).is_ok());
    }

    #[test]
    fn only_descriptors_that_listen_on_the_functions_ports_are_taken() {
        let ports = free_ports(2);
        let listeners = Listeners::bind(&ports).unwrap();
        assert!(Listeners::received(duplicates(&listeners), &ports).is_ok());
        assert!(matches!(
            Listeners::received(duplicates(&listeners), &ports[..1]),
            Err(NoListeners::Count { .. })
        ));
        let mut swapped = duplicates(&listeners);
        swapped.reverse();
        assert!(matches!(
            Listeners::received(swapped, &ports),
            Err(NoListeners::Foreign { .. })
        ));
    }

    #[test]
    fn a_listener_on_every_address_is_not_taken_for_one_on_loopback() {
        let mut ports = free_ports(1);
        let loopback = ports.clone();
        ports[0].address = std::net::Ipv6Addr::UNSPECIFIED.into();
        let listeners = Listeners::bind(&ports).unwrap();
        assert!(Listeners::received(duplicates(&listeners), &ports).is_ok());
        assert!(Listeners::received(duplicates(&listeners), &loopback).is_err());
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, ports[0].port)).unwrap();
    }

    #[test]
    fn unix_sockets_are_passed_too_and_bound_by_whoever_gets_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("echo.sock");
        let mut ports = free_ports(1);
        ports[0].socket = Some(path.clone());
        let listeners = Listeners::bind(&ports).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        let received = Listeners::received(duplicates(&listeners), &ports).unwrap();
        drop(listeners);
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        let (_, sockets) = received.duplicate().unwrap().into_inner();
        assert!(is_at(sockets[0].accept().unwrap().0.as_fd(), &path));
        drop(sockets);

        let mut foreign = duplicates(&received);
        let other = UnixListener::bind(directory.path().join("other.sock")).unwrap();
        foreign[1] = other.into();
        assert!(matches!(
            Listeners::received(foreign, &ports),
            Err(NoListeners::ForeignSocket { .. })
        ));

        let former: Vec<_> = received
            .ports_only()
            .iter()
            .map(|port| port.try_clone_to_owned().unwrap())
            .collect();
        drop(received);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_err());
        let completed = Listeners::received(former, &ports).unwrap();
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        assert_eq!(completed.descriptors().len(), 2);
    }
}
