//! How a TCP connection ends: in order, one direction after the other, or by a reset.

use super::{Phase, TcpSocket};
use crate::errno::{Errno, Result};
use crate::fs::socket::Shutdown;
use alloc::sync::Weak;

impl TcpSocket {
    /// `ENOTCONN` for a socket without a connection, which all the same receives and sends no more.
    pub(super) fn shut_down(&self, how: Shutdown) -> Result<()> {
        let (phase, sent_before) = {
            let mut state = self.state.lock();
            let sent_before = state.shutdown.send;
            if !matches!(state.phase, Phase::Listening { .. } | Phase::Connecting) {
                state.shutdown.receive |= how.receive;
                state.shutdown.send |= how.send;
            }
            (state.phase, sent_before)
        };
        match phase {
            Phase::Closed => {
                self.wake_everybody();
                return Err(Errno::NOTCONN);
            }
            Phase::Listening { .. } if how.receive => self.abandon(),
            Phase::Listening { .. } => {}
            Phase::Connecting => {
                self.abandon();
                self.state.lock().connect_untold = false;
            }
            Phase::Connected if how.send && !sent_before => self.finish(),
            Phase::Connected => {}
        }
        self.wake_everybody();
        Ok(())
    }

    /// Says that nothing more will be sent.
    fn finish(&self) {
        let peer = {
            let mut state = self.state.lock();
            state.finished_first = !state.peer_finished;
            if state.peer_finished {
                // Both have finished: the connection is over, though what was received can be read.
                state.phase = Phase::Closed;
            }
            state.peer.as_ref().and_then(Weak::upgrade)
        };
        self.common.count(0);
        if let Some(peer) = peer {
            peer.peer_has_finished();
        }
    }

    fn peer_has_finished(&self) {
        let mut state = self.state.lock();
        state.peer_finished = true;
        let both = state.shutdown.send && state.phase == Phase::Connected;
        state.shutdown.receive = true;
        if both {
            state.phase = Phase::Closed;
        }
        drop(state);
        self.wake_everybody();
    }

    /// A reset arrives: the connection is over at once. What was received can still be read.
    pub(super) fn receive_reset(&self) {
        let mut state = self.state.lock();
        if state.phase != Phase::Connected {
            return;
        }
        state.error = Some(if state.peer_finished { Errno::PIPE } else { Errno::CONNRESET });
        state.phase = Phase::Closed;
        state.shutdown = Shutdown { receive: true, send: true };
        state.peer = None;
        drop(state);
        self.wake_everybody();
    }

    /// Ends everything at once: a listener's queue is given up, a peer is reset.
    pub(super) fn abandon(&self) {
        let (phase, peer, segments) = {
            let mut state = self.state.lock();
            let phase = core::mem::replace(&mut state.phase, Phase::Closed);
            state.queued_bytes = 0;
            (phase, state.peer.take(), core::mem::take(&mut state.segments))
        };
        drop(segments);
        if matches!(phase, Phase::Listening { .. }) {
            self.dismiss_all();
        }
        if phase == Phase::Connected
            && let Some(peer) = peer.as_ref().and_then(Weak::upgrade)
        {
            peer.receive_reset();
        }
        self.wake_everybody();
    }

    /// The last descriptor is gone. What was not read, or a linger time of 0, makes it a reset.
    pub(super) fn close(&self) {
        let (phase, resets, finished_before) = {
            let mut state = self.state.lock();
            state.dead = true;
            let finished_before = state.shutdown.send;
            (state.phase, state.queued_bytes > 0 || self.common.options.resets_on_close(), finished_before)
        };
        match phase {
            Phase::Connected if !resets => {
                self.state.lock().shutdown = Shutdown { receive: true, send: true };
                if !finished_before {
                    self.finish();
                }
            }
            _ => self.abandon(),
        }
        self.leave_port(resets);
        self.wake_everybody();
    }

    /// The port is free, unless the connection ended on this side first and in order.
    fn leave_port(&self, was_reset: bool) {
        let (local, remote, lingers) = {
            let state = self.state.lock();
            (state.local, state.remote, state.finished_first && state.had_connection && !was_reset)
        };
        let table = &self.common.network.inet.tcp;
        if local.port != 0 {
            table.unbind(self, local.port);
        }
        if let Some(remote) = remote.filter(|_| lingers) {
            table.depart(local, remote, self.common.is_v6(), self.common.claim(local.address, false));
        }
    }
}
