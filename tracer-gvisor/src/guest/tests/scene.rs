//! A sandbox, as its messages describe it.

use super::*;

pub(super) const SENTRY: ProcessId = ProcessId::new(900, 5);

/// A sandbox, and the session that its messages make.
pub(super) struct Scene {
    pub(super) guest: Guest,
    pub(super) session: Session,
    pub(super) now: i64,
}

impl Scene {
    pub(super) fn new() -> Self {
        let identity = Identity {
            number: 1,
            sentry: SENTRY,
            container: "c1".into(),
            real_minus_boot_ns: 1000,
            fds: 0b110,
            all_fds: false,
        };
        Self { guest: Guest::new(identity), session: Session::default(), now: 10_000 }
    }

    pub(super) fn context(&mut self, tgid: i32) -> Option<Context> {
        self.now += 1000;
        let start_ns = 5000 + i64::from(tgid);
        let (container, name) = (b"c1".to_vec(), b"told-at-end".to_vec());
        Some(Context { time_ns: self.now, tid: tgid, tgid, start_ns, container, name })
    }

    pub(super) fn send(&mut self, number: u16, message: &impl prost::Message) {
        self.guest.take(&packet(number, message));
        self.apply();
    }

    pub(super) fn apply(&mut self) {
        let Output { events, rows } = self.guest.output();
        events.iter().for_each(|event| self.session.apply(event));
        rows.iter().for_each(|(key, row)| self.session.add_row(*key, row));
    }

    pub(super) fn starts(&mut self, argv: &[&str]) {
        let context = self.context(1);
        let argv = argv.iter().map(|word| word.as_bytes().to_vec()).collect();
        self.send(1, &Start { context, argv });
    }

    pub(super) fn forks(&mut self, parent: i32, child: i32) {
        let context = self.context(parent);
        let start_ns = 5000 + i64::from(child);
        self.send(2, &Clone { context, tid: child, tgid: child, start_ns, flags: 0 });
    }

    pub(super) fn executes(&mut self, tgid: i32, path: &str) {
        let context = self.context(tgid);
        let argv = vec![path.as_bytes().to_vec()];
        self.send(3, &Exec { context, path: path.as_bytes().to_vec(), argv });
    }

    pub(super) fn pipes(&mut self, tgid: i32, reader: i32, writer: i32) {
        let context = self.context(tgid);
        self.send(17, &Pipe { context, exit: Some(Returned::default()), flags: 0, reader, writer });
    }

    pub(super) fn duplicates(&mut self, tgid: i32, old: i32, new: i32, path: &str) {
        let (context, exit) = (self.context(tgid), Some(returned(i64::from(new))));
        self.send(19, &Dup { context, exit, old, new, path: path.into(), flags: 0 });
    }

    pub(super) fn closes(&mut self, tgid: i32, fd: i64) {
        let context = self.context(tgid);
        self.send(8, &Close { context, exit: Some(Returned::default()), fd });
    }

    pub(super) fn moves(
        &mut self,
        tgid: i32,
        direction: u32,
        fd: i64,
        path: &str,
        outcome: Result<i64, i64>,
    ) {
        let context = self.context(tgid);
        let exit = Some(match outcome {
            Ok(result) => returned(result),
            Err(errno) => Returned { result: 0, errno },
        });
        let sysno = if direction == WRITE { libc::SYS_write } else { libc::SYS_read } as u64;
        let call = Transfer { context, exit, sysno, fd, path: path.into(), count: 5000 };
        self.send(if direction == WRITE { 34 } else { 9 }, &call);
    }

    pub(super) fn ends(&mut self, tgid: i32, status: i32) {
        let context = self.context(tgid);
        self.send(5, &Ended { context, status });
    }

    pub(super) fn pipe(&self) -> ObjectId {
        let mut objects = self.session.objects.values();
        objects.find(|object| object.kind == Kind::Pipe).unwrap().id
    }
}

pub(super) fn returned(result: i64) -> Returned {
    Returned { result, errno: 0 }
}

pub(super) fn packet(number: u16, message: &impl prost::Message) -> Vec<u8> {
    let mut packet = Vec::from(8u16.to_le_bytes());
    packet.extend(number.to_le_bytes());
    packet.extend(0u32.to_le_bytes());
    packet.extend(message.encode_to_vec());
    packet
}
