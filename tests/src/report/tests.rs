//! Tests of report parsing.

use super::*;

#[test]
fn unknown_fields_are_ignored_and_nested_losses_found() {
    let text = r#"{"schema":"tracer.report/1","new":1,"processes":[
        {"pid":7,"ns_pid":7,"ppid":1,"exit":null,"later":[],"fds":[
            {"fd":1,"object":"pipe:[5]","kind":"pipe","bytes":3,"writes":1,"errors":{}}]}],
        "losses":{"ring_full":0,"maps":{"ledger_full":2}}}"#;
    let report: Report = serde_json::from_str(text).unwrap();
    assert_eq!(report.written_to("pipe:[5]"), 3);
    assert_eq!(report.bytes_of(7, 1), 3);
    assert_eq!(report.losses().len(), 1);
}

#[test]
fn hops_claims_closes_and_evidence_are_read() {
    let text = r#"{"schema":"tracer.report/1","processes":[],
        "objects":[{"id":"pipe:[5]","capacity":65536,"inside":null,"joined":null,
            "closes":[{"pid":6,"comm":"goproc","fd":9,"at_ms":1.5,"by":"close"}]}],
        "findings":[{"rule":"unread","severity":"loss","pid":7,"evidence":{"unread":9}}],
        "hops":[{"subject_pid":7,"fd":1,"steps":[
            {"pid":7,"comm":"head","object":"pipe:[5]","bytes":9}]}],
        "claims":[{"pid":7,"ns_pid":2,"container":"c","stream":"stdout",
            "written":9,"read":9,"handed_out":0}]}"#;
    let report: Report = serde_json::from_str(text).unwrap();
    assert_eq!(report.object("pipe:[5]").unwrap().closes[0].pid, 6);
    assert_eq!(report.chain(7, 1).unwrap().steps[0].bytes, 9);
    assert_eq!(report.claim(7, "stdout").unwrap().handed_out, Some(0));
    report.headline("unread").unwrap().about(7).unwrap().expect("unread", 9).unwrap();
    assert!(report.headline("delivered").is_err() && report.has_no_loss().is_err());
    report.check_exit_code(Some(1)).unwrap();
    assert!(report.check_exit_code(Some(0)).is_err());
}
