//! Commands of a report.

use tracer_core::{
    report::{Command, CommandImage, CommandStream, Exit, StreamSegment},
    verdict::{Confidence, Outcome, RedirectedBy},
};

/// A command that wrote 122 B to stderr, and is replaced by a shell.
pub(in crate::render::tests) fn complains() -> Command {
    let image = |comm: &str, start_ms| CommandImage {
        comm: comm.into(),
        command: format!("{comm} pull"),
        start_ms,
        executed: true,
    };
    let streams = vec![
        stream("stdout", segment(1, "pipe:[88123]", Outcome::NeverWritten)),
        stream(
            "stderr",
            StreamSegment {
                bytes: 122,
                read_by: vec![60],
                first_image: Some(0),
                last_image: Some(1),
                ..segment(2, "pipe:[88124]", Outcome::Read)
            },
        ),
    ];
    Command {
        pid: 71,
        command: "sh pull".into(),
        start_ms: 1.0,
        exit: Some(Exit { code: Some(125), signal: None }),
        images: vec![image("docker", 1.5), image("sh", 40.0)],
        more_images: 0,
        opening: Some("/tmp/fifo".into()),
        streams,
    }
}

fn stream(name: &str, segment: StreamSegment) -> CommandStream {
    CommandStream { stream: name.into(), segments: vec![segment], more_segments: 3 }
}

fn segment(fd: i32, object: &str, outcome: Outcome) -> StreamSegment {
    StreamSegment {
        fd,
        object: object.into(),
        kind: "pipe".into(),
        since_ms: Some(1.5),
        redirected_by: Some(RedirectedBy::Launcher),
        first_image: None,
        last_image: None,
        bytes: 0,
        started_bytes: 0,
        refused_bytes: 0,
        outcome,
        confidence: Confidence::Certain,
        read_by: Vec::new(),
        more_readers: 0,
    }
}
