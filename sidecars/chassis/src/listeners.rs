//! The listening sockets of a slot's functions, in the order of `OUTRIGGER_LISTEN`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{SocketAddrAny, SocketType, getsockname, sockopt};

use crate::settings::FunctionPort;

/// One listening socket for each function. Duplicates share the kernel's queue of connections, so
/// as long as anyone holds one, a connect waits instead of being refused.
#[derive(Debug)]
pub(crate) struct Listeners(Vec<TcpListener>);

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
    #[error("{found} descriptors arrived for {expected} functions")]
    Count { found: usize, expected: usize },
    #[error("the descriptor for function {function} does not listen on its port {port}")]
    Foreign { function: String, port: u16 },
    #[error("a listener could not be made non-blocking: {0}")]
    Blocking(io::Error),
}

impl Listeners {
    /// Listens on every function's port, or on none.
    ///
    /// Both slots of a pod may try at the same time: they try the ports in the same order, so the
    /// first port decides between them.
    pub(crate) fn bind(ports: &[FunctionPort]) -> Result<Listeners, NoListeners> {
        let mut listeners = Vec::with_capacity(ports.len());
        for FunctionPort {
            function,
            address,
            port,
        } in ports
        {
            let bound = bind(*address, *port).and_then(|listener| {
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
        Ok(Listeners(listeners))
    }

    /// Takes descriptors that another process passed, if they are what the functions listen on.
    pub(crate) fn received(
        descriptors: Vec<OwnedFd>,
        ports: &[FunctionPort],
    ) -> Result<Listeners, NoListeners> {
        if descriptors.len() != ports.len() {
            return Err(NoListeners::Count {
                found: descriptors.len(),
                expected: ports.len(),
            });
        }
        for (descriptor, wanted) in descriptors.iter().zip(ports) {
            if !listens_on(descriptor.as_fd(), wanted) {
                return Err(NoListeners::Foreign {
                    function: wanted.function.clone(),
                    port: wanted.port,
                });
            }
        }
        let listeners = Listeners(descriptors.into_iter().map(TcpListener::from).collect());
        for listener in &listeners.0 {
            // They are, unless something other than a slot passed them.
            listener
                .set_nonblocking(true)
                .map_err(NoListeners::Blocking)?;
        }
        Ok(listeners)
    }

    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.0.iter().map(AsFd::as_fd).collect()
    }

    pub(crate) fn duplicate(&self) -> io::Result<Listeners> {
        let duplicates: io::Result<Vec<_>> = self.0.iter().map(TcpListener::try_clone).collect();
        Ok(Listeners(duplicates?))
    }

    pub(crate) fn into_inner(self) -> Vec<TcpListener> {
        self.0
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

fn listens_on(descriptor: BorrowedFd<'_>, wanted: &FunctionPort) -> bool {
    let socket = |address: IpAddr| SocketAddrAny::from(SocketAddr::from((address, wanted.port)));
    let is_wanted = |found: &SocketAddrAny| {
        *found == socket(wanted.address)
            || (is_everywhere(wanted.address) && *found == socket(Ipv4Addr::UNSPECIFIED.into()))
    };
    sockopt::socket_type(descriptor) == Ok(SocketType::STREAM)
        && sockopt::socket_acceptconn(descriptor) == Ok(true)
        && getsockname(descriptor).is_ok_and(|found| is_wanted(&found))
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
}
