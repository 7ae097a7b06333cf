//! What a user writes: a runtime whose tasks are drivers, and a socket with a tap.

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use shared_fate::{Cause, Session};
use shared_fate_integrations::lines;
use std::error::Error;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

// user: nothing
// end

// user: hooks
#[derive(Debug)]
pub struct Hooked(pub Session<dyn Error + Send + Sync>);

impl Runtime for Hooked {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        tokio::spawn(self.0.drive_map(task, |()| None));
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }
}

#[derive(Debug)]
pub struct Tapped(pub Arc<dyn AsyncUdpSocket>, pub Session<dyn Error + Send + Sync>);

impl AsyncUdpSocket for Tapped {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.0.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.0.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let poll = self.0.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Err(error)) = &poll {
            // quinn passes this one over: anybody on the way can make it.
            if error.kind() != io::ErrorKind::ConnectionReset {
                let copy = io::Error::new(error.kind(), error.to_string());
                self.1.end(Cause::any(copy));
            }
        }
        poll
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.0.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.0.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.0.may_fragment()
    }
}
// end

#[test]
fn a_user_adds_sixty() {
    let added = lines::added(include_str!("hooks.rs"), "nothing", "hooks").len();
    println!("\nquinn: the hooks are {added} lines, before the session, the endpoint and the calls\n");
    assert!(added <= 60, "{added}");
}
