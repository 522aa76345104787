//! Which sandbox a connection belongs to.

use tracer_common::id::ProcessId;
use tracer_core::event::{EventKind, Sandbox};
use tracer_gvisor::{Guest, Identity};
use tracer_loader::boot_ns;

use super::{
    Expected, Guests, has_closed,
    kernels::{handed_in, real_minus_boot_ns, sentry_of},
};
use crate::{app::collect::Collector, gvisor::SandboxProcess};

impl Guests {
    /// Finds out which sandbox a connection belongs to, and applies what has waited.
    pub(super) fn identify(&mut self, number: u32, collector: &mut Collector) {
        let Some(unknown) = self.connections.get_unknown(number) else { return };
        if !unknown.origin.is_second && !self.is_configured {
            return self.identify_session(number, collector);
        }
        // The runtime is configured to send from the first instruction on.
        let container = unknown.container();
        let found = container.and_then(|id| Some((sentry_of(&collector.session, &id)?, id)));
        match found {
            Some(((sentry, streams), container)) => {
                let guest = self.is_of(sentry, streams, container, false, collector);
                self.belongs_to(number, guest, collector);
            }
            // A sandbox that is idle says nothing yet.
            None if unknown.is_late() && (unknown.is_closed || !unknown.is_silent()) => {
                self.connections.is_foreign(number);
            }
            None => {}
        }
    }

    /// Finds out which of the trace sessions that tracer had made a connection belongs to.
    fn identify_session(&mut self, number: u32, collector: &mut Collector) {
        let Some(unknown) = self.connections.get_unknown(number) else { return };
        let pid = unknown.origin.pid.cast_unsigned();
        let place = self.expected.iter().position(|expected| expected.inside.connected_by == pid);
        let Some(place) = place else {
            // A try that failed: a sandbox that starts gives no answer.
            if unknown.is_late() && unknown.is_closed {
                self.connections.is_foreign(number);
            }
            return;
        };
        let Expected { sentry, inside } = self.expected.remove(place);
        let SandboxProcess { streams, id, .. } = inside.sandbox;
        let mut guest = self.is_of(sentry, streams, id, true, collector);
        for running in tracer_gvisor::running(&inside.procfs) {
            guest.was_running(&running, inside.told_since_ns, boot_ns());
        }
        self.belongs_to(number, guest, collector);
    }

    /// The model of a sandbox that has connected.
    fn is_of(
        &mut self,
        sentry: ProcessId,
        streams: usize,
        container: String,
        looked_late: bool,
        collector: &mut Collector,
    ) -> Guest {
        self.seen.insert(sentry);
        self.numbers += 1;
        let number = self.numbers;
        let handed_in = handed_in(number, streams);
        let identity = self.identity(number, sentry, container.clone());
        collector.observed([EventKind::Sandbox(Sandbox {
            number,
            container,
            sentry,
            looked_late,
            handed_in,
            only_fds: (!self.all_fds).then_some(self.fds),
        })]);
        self.say_no_bytes();
        Guest::new(identity)
    }

    fn belongs_to(&mut self, number: u32, guest: Guest, collector: &mut Collector) {
        let closed = self.connections.belongs_to(number, guest);
        closed.into_iter().for_each(|guest| has_closed(*guest, collector));
    }

    fn identity(&self, number: u32, sentry: ProcessId, container: String) -> Identity {
        Identity {
            number,
            sentry,
            container,
            real_minus_boot_ns: real_minus_boot_ns(),
            fds: self.fds,
            all_fds: self.all_fds,
        }
    }
}
