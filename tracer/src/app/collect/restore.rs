//! Goes on with what an earlier recorder has left ([`Handover`]).

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::id::ProcessId;
use tracer_core::event::{self, Event, EventKind};
use tracer_loader::{Loader, LoaderError};

use super::{Collector, is_of_target};
use crate::{
    app::handover::{Handover, Item, is_survey},
    observe::Request,
    sys::processes::exists,
};

impl Collector {
    /// From here on, what is no record of the kernel is kept for the next recorder.
    pub(in crate::app) fn hand_over_by(&mut self, handover: Handover) {
        self.handover = handover;
    }

    /// Applies the parts of a log that are about processes and objects.
    ///
    /// # Errors
    /// [`LoaderError`] if the maps cannot be read.
    pub(in crate::app) fn restore(
        &mut self,
        items: &[Item],
        loader: &mut Loader,
    ) -> Result<(), LoaderError> {
        // A row that was kept and not yet taken out is still there: the earlier recorder was killed in between.
        let rows = loader.rows()?.into_iter().map(|(key, row)| (key, row.first_ns));
        let in_kernel: BTreeMap<_, _> = rows.collect();
        let late = items.iter().filter_map(|item| match item {
            Item::Late(process) => Some(*process),
            _ => None,
        });
        let late: BTreeSet<ProcessId> = late.collect();
        for item in items {
            match item {
                Item::Record(record) => {
                    if let Ok(event) = event::decode(record) {
                        self.restore_event(event, &late);
                    }
                }
                Item::Observed(event) => self.session.apply(event),
                Item::Row(row) if in_kernel.get(&row.key) != Some(&row.row.first_ns) => {
                    self.session.add_row(row.key, &row.row);
                }
                Item::Account(account) => self.session.set_account(account),
                Item::Judged(job) => self.drop_jobs(std::slice::from_ref(job)),
                Item::Loss(loss) => self.session.add_loss(loss.reason.clone(), loss.cell),
                _ => {}
            }
        }
        self.lifetimes.set_watched(loader)?;
        self.drop_jobs(&[]);
        let known = &self.session.processes;
        self.new_targets.retain(|(process, _)| known.contains_key(process));
        let ended = self.session.processes.values().filter(|process| process.end_ns.is_some());
        let ended: Vec<_> = ended.map(|process| process.id).collect();
        for process in ended {
            let rows = self.lifetimes.rows_of_ended(process);
            self.reap(rows, loader);
        }
        self.new_objects = true;
        self.lifetimes.look_at_everything_next();
        self.ask_for_arguments();
        Ok(())
    }

    fn restore_event(&mut self, mut event: Event, late: &BTreeSet<ProcessId>) {
        if is_survey(&event) {
            return;
        }
        if let EventKind::Image(image) = &mut event.kind {
            image.late = !image.executed && late.contains(&image.process);
        }
        self.session.apply(&event);
        self.lifetimes.event(&event, &self.session);
        match &event.kind {
            EventKind::Fork { child, .. } => self.live_targets.insert(*child),
            EventKind::Image(image) if is_of_target(image) => {
                self.live_targets.insert(image.process);
                self.entered(image);
            }
            EventKind::Exit(exit) => {
                self.live_targets.ended(&exit.process);
            }
            _ => {}
        }
    }

    /// Asks for the arguments that the earlier recorder did not get any more.
    fn ask_for_arguments(&mut self) {
        let running: Vec<ProcessId> = self.running().filter(|id| exists(id.tgid)).collect();
        for process in running {
            let known = self.session.processes.get(&process);
            if let Some(known) = known.filter(|known| known.argv.is_empty()) {
                let environment = known.is_target;
                self.lookout.ask(Request::Process { process, arguments: true, environment });
            }
        }
    }
}
