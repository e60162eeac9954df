//! The agent dials an endpoint itself, to see whether it takes connections.

use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::connections::ConnectionFailure;
use crate::plan::EndpointAddress;

/// Whether an endpoint takes a connection within a time; none if this host could not try. The connection is ended at once.
pub(super) async fn dial(address: &EndpointAddress, within: Duration) -> Option<Result<(), ConnectionFailure>> {
    let dialled = timeout(within, async {
        match address {
            EndpointAddress::Tcp(address) => TcpStream::connect(*address).await.map(drop),
            EndpointAddress::Unix(path) => UnixStream::connect(&**path).await.map(drop),
            EndpointAddress::Original(_) => Ok(()),
        }
    });
    match dialled.await {
        Ok(Ok(())) => Some(Ok(())),
        // A unix socket whose backlog is full is there.
        Ok(Err(error)) if Errno::from_io_error(&error) == Some(Errno::AGAIN) => Some(Ok(())),
        Ok(Err(error)) => match ConnectionFailure::from(&error) {
            ConnectionFailure::NoDescriptors | ConnectionFailure::NoPorts => None,
            reason => Some(Err(reason)),
        },
        Err(_) => Some(Err(ConnectionFailure::ConnectTimeout)),
    }
}
