//! Sockets are listed with their ends and ended by them; answers that are cut are errors.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use rustix::net::sockopt::socket_cookie;

use super::*;

const WHOLE: Dump<'static> = Dump { states: states::ALL, has_info: true, storage: None, is_mptcp: false };

fn pair(address: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    (client, server)
}

/// The ends of a socket, and how many bytes of information there are, as the kernel lists it.
fn found(socket: impl AsFd) -> Option<(TcpEnds, usize)> {
    let cookie = socket_cookie(socket).unwrap();
    let mut found = None;
    for family in FAMILIES {
        let answer = begin(family, &WHOLE).unwrap();
        read(answer, |one| found = found.or((one.ends.cookie == cookie).then_some((one.ends, one.info.len()))))
            .unwrap();
    }
    found
}

#[test]
fn a_socket_is_listed_with_its_ends() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (client, _server) = pair(address);
        let (ends, info) = found(&client).unwrap();
        assert_eq!((ends.local, ends.peer), (client.local_addr().unwrap(), client.peer_addr().unwrap()));
        assert!(info >= 136, "{info} bytes of information");
    }
}

#[test]
fn the_socket_that_is_meant_is_ended_and_no_other_one() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let ((client, server), (other, _far)) = (pair(address), pair(address));
        let (ends, _) = found(&client).unwrap();
        let stranger = TcpEnds { cookie: ends.cookie ^ 1, ..ends };
        let done = destroy(&[stranger, ends]).unwrap();
        let error = done[0].as_ref().unwrap_err();
        // `ESTALE`, or what the kernel says of a socket that is not there.
        assert!([ErrorKind::StaleNetworkFileHandle, ErrorKind::NotFound].contains(&error.kind()), "{error}");
        assert!(done[1].is_ok(), "{done:?}");
        assert_eq!(server.take_error().unwrap().unwrap().kind(), ErrorKind::ConnectionReset);
        assert_eq!(client.take_error().unwrap().unwrap().kind(), ErrorKind::ConnectionAborted);
        assert!(other.take_error().unwrap().is_none());
        let again = destroy(&[ends]).unwrap();
        assert_eq!(again[0].as_ref().unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[test]
fn an_answer_that_is_cut_or_says_an_error_is_an_error() {
    let mut whole = request(FAMILIES[0], &WHOLE);
    let mut take = |_: ListedSocket<'_>| panic!("no socket is listed");
    whole[4..6].copy_from_slice(&DONE.to_ne_bytes());
    assert!(piece(&whole, &mut take).unwrap());
    assert!(piece(&[], &mut take).is_ok_and(|is_last| !is_last));
    for cut in [1, 8, HEADER, REQUEST - 1] {
        assert!(piece(&whole[..cut], &mut take).is_err(), "{cut}");
    }
    // Shorter than a socket.
    whole[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    assert!(piece(&whole, &mut take).is_err());
    whole[..4].copy_from_slice(&0_u32.to_ne_bytes());
    assert!(piece(&whole, &mut take).is_err());
    whole[..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    whole[4..6].copy_from_slice(&ERROR.to_ne_bytes());
    whole[HEADER..HEADER + 4].copy_from_slice(&(-2_i32).to_ne_bytes());
    assert_eq!(piece(&whole, &mut take).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn attributes_that_are_cut_are_left_out() {
    let two = [attribute(7, &[1; 4]), attribute(NESTED | 9, &attribute(3, &[2; 8]))].concat();
    assert_eq!(attributes(&two).map(|(kind, value)| (kind, value.len())).collect::<Vec<_>>(), [(7, 4), (9, 12)]);
    assert_eq!(inner(inner(&two, 9).unwrap(), 3), Some(&[2; 8][..]));
    for length in 0..two.len() {
        assert!(attributes(&two[..length]).count() < 2);
    }
    assert_eq!(attributes(&[0; 16]).count(), 0, "a length of nothing ends it");
}
