//! Compares what tracer said with the truth.

use serde::Deserialize;

use super::case::Truth;

/// The part of tracer's JSON report that matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    /// The first sentence.
    pub(crate) verdict: String,
    /// What it found, the most important first.
    pub(crate) findings: Vec<Finding>,
}

/// A finding of the report.
#[derive(Debug, Deserialize)]
pub(crate) struct Finding {
    /// The name of its rule.
    rule: String,
    /// `loss`, `warning` or `info`.
    severity: String,
    /// Its sentence.
    message: String,
}

/// How good tracer's answer is, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grade {
    /// The truth, in the first sentence.
    Right,
    /// The truth is there, but not first, or without the process or the bytes.
    Weak,
    /// Something else, or something false.
    Wrong,
}

impl Grade {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Weak => "weak",
            Self::Wrong => "wrong",
        }
    }
}

/// A grade, and why it is not the best one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// The grade.
    pub(crate) grade: Grade,
    /// What is missing or false; empty if the answer is right.
    pub(crate) why: String,
}

impl Judgement {
    fn right() -> Self {
        Self { grade: Grade::Right, why: String::new() }
    }

    fn weak(why: String) -> Self {
        Self { grade: Grade::Weak, why }
    }

    /// A wrong answer, and what is wrong with it.
    pub(crate) fn wrong(why: String) -> Self {
        Self { grade: Grade::Wrong, why }
    }
}

/// Judges a report and tracer's exit code.
pub(crate) fn judge(truth: &Truth, report: &Report, exit: i32) -> Judgement {
    if truth.healthy {
        return judge_health(report, exit);
    }
    if let Some(text) = truth.not.iter().find(|text| says(report, text)) {
        return Judgement::wrong(format!("it says `{text}`"));
    }
    let Some(first) = report.findings.first() else {
        return Judgement::wrong("no finding".to_owned());
    };
    let is_first = truth.rule.contains(&first.rule);
    if !is_first && !is_anywhere(truth, report) {
        return Judgement::wrong(format!("it says {}", first.rule));
    }
    if exit != truth.exit {
        return Judgement::wrong(format!("exit code {exit}"));
    }
    if let Some(blame) = wrong_blame(truth, &report.verdict) {
        return Judgement::wrong(format!("another one `{blame}`"));
    }
    match missing(truth, &report.verdict) {
        _ if !is_first => Judgement::weak(format!("{} comes first", first.rule)),
        Some(text) => Judgement::weak(format!("no `{text}`")),
        None => Judgement::right(),
    }
}

/// Whether the first sentence has a text, or one about a loss.
fn says(report: &Report, text: &str) -> bool {
    let mut losses = report.findings.iter().filter(|finding| finding.severity == "loss");
    report.verdict.contains(text) || losses.any(|finding| finding.message.contains(text))
}

/// What tracer says about the process that lost the bytes, behind its pid.
const BLAMES: [&str; 5] = [
    "closed its read end",
    "ended with its read end open",
    "closed the terminal",
    "ended with the terminal open",
    "cut the file",
];

/// What a sentence says that another process did than the one that lost the bytes.
fn wrong_blame(truth: &Truth, sentence: &str) -> Option<&'static str> {
    let culprit = truth.culprit.as_deref()?;
    let names_it = culprit.split('|').any(|either| sentence.contains(either));
    let is_said = |blame: &&str| sentence.contains(&format!(") {blame}"));
    BLAMES.into_iter().find(is_said).filter(|_| !names_it)
}

/// Nothing is wrong in a healthy case, so no finding may say so.
fn judge_health(report: &Report, exit: i32) -> Judgement {
    if let Some(alarm) = report.findings.iter().find(|finding| finding.severity != "info") {
        return Judgement::wrong(format!("{} of severity {}", alarm.rule, alarm.severity));
    }
    if exit != 0 {
        return Judgement::wrong(format!("exit code {exit}"));
    }
    Judgement::right()
}

/// The first text of the truth that a sentence does not have. `a|b` is either of two.
fn missing<'a>(truth: &'a Truth, sentence: &str) -> Option<&'a str> {
    let mut texts = truth.says.iter().chain(&truth.culprit).map(String::as_str);
    texts.find(|text| !text.split('|').any(|either| sentence.contains(either)))
}

/// Whether any finding is of a true rule, or says everything that is true.
fn is_anywhere(truth: &Truth, report: &Report) -> bool {
    let says_all =
        |finding: &Finding| !truth.says.is_empty() && missing(truth, &finding.message).is_none();
    report.findings.iter().any(|finding| truth.rule.contains(&finding.rule) || says_all(finding))
}

/// What tracer should have said, in one line.
pub(crate) fn expectation(truth: &Truth) -> String {
    if truth.healthy {
        return "no loss, no warning, exit 0".to_owned();
    }
    let mut text = truth.rule.join(" or ");
    for said in truth.says.iter().chain(&truth.culprit) {
        text += &format!(" `{said}`");
    }
    text + &format!(", exit {}", truth.exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENTENCE: &str = "python3[7] left 5,000 B of stdout unread";

    fn truth() -> Truth {
        Truth {
            rule: vec!["unread".to_owned()],
            says: vec!["5,000 B".to_owned()],
            culprit: Some("python3".to_owned()),
            exit: 1,
            not: vec!["never wrote".to_owned()],
            healthy: false,
        }
    }

    fn report(findings: &[(&str, &str, &str)]) -> Report {
        let finding = |(rule, severity, message): &(&str, &str, &str)| Finding {
            rule: (*rule).to_owned(),
            severity: (*severity).to_owned(),
            message: (*message).to_owned(),
        };
        let verdict = findings.first().map_or("", |first| first.2).to_owned();
        Report { verdict, findings: findings.iter().map(finding).collect() }
    }

    fn grade(truth: &Truth, findings: &[(&str, &str, &str)], exit: i32) -> Grade {
        judge(truth, &report(findings), exit).grade
    }

    #[test]
    fn the_truth_in_the_first_sentence_is_right() {
        assert_eq!(grade(&truth(), &[("unread", "loss", SENTENCE)], 1), Grade::Right);
    }

    #[test]
    fn bytes_or_culprit_missing_is_weak() {
        for sentence in ["python3[7] left bytes unread", "5,000 B are unread"] {
            assert_eq!(grade(&truth(), &[("unread", "loss", sentence)], 1), Grade::Weak);
        }
    }

    #[test]
    fn one_of_several_texts_is_enough() {
        let truth = Truth { says: vec!["4 B|5,000 B".to_owned()], ..truth() };
        assert_eq!(grade(&truth, &[("unread", "loss", SENTENCE)], 1), Grade::Right);
        let truth = Truth { says: vec!["4 B|6 B".to_owned()], ..truth };
        assert_eq!(grade(&truth, &[("unread", "loss", SENTENCE)], 1), Grade::Weak);
    }

    #[test]
    fn the_truth_in_second_place_is_weak() {
        let first = ("other_stream", "info", "all went to stderr");
        assert_eq!(grade(&truth(), &[first, ("unread", "loss", "x")], 1), Grade::Weak);
        assert_eq!(grade(&truth(), &[first, ("stuck", "loss", SENTENCE)], 1), Grade::Weak);
        assert_eq!(grade(&truth(), &[first, ("stuck", "loss", "x")], 1), Grade::Wrong);
    }

    #[test]
    fn a_false_statement_is_wrong_beside_the_truth_too() {
        let sentence = format!("sh never wrote; {SENTENCE}");
        assert_eq!(grade(&truth(), &[("unread", "loss", &sentence)], 1), Grade::Wrong);
    }

    #[test]
    fn a_false_statement_about_a_loss_is_wrong_in_any_place() {
        let first = ("unread", "loss", SENTENCE);
        let aside = |severity| ("stuck", severity, "sh never wrote");
        assert_eq!(grade(&truth(), &[first, aside("loss")], 1), Grade::Wrong);
        assert_eq!(grade(&truth(), &[first, aside("info")], 1), Grade::Right);
    }

    #[test]
    fn to_blame_another_process_is_wrong() {
        let truth = Truth { says: vec!["5,000 B".to_owned()], ..truth() };
        let by = |name| format!("sh (pid 7) wrote 5,000 B: {name} (pid 9) closed its read end");
        assert_eq!(grade(&truth, &[("unread", "loss", &by("python3"))], 1), Grade::Right);
        assert_eq!(grade(&truth, &[("unread", "loss", &by("node"))], 1), Grade::Wrong);
    }

    #[test]
    fn a_wrong_exit_code_is_wrong_even_if_the_truth_is_there() {
        let judgement = judge(&truth(), &report(&[("unread", "loss", SENTENCE)]), 0);
        assert_eq!(judgement, Judgement::wrong("exit code 0".to_owned()));
        let judgement = judge(&truth(), &report(&[("stuck", "loss", "x")]), 0);
        assert_eq!(judgement, Judgement::wrong("it says stuck".to_owned()));
    }

    #[test]
    fn another_rule_or_none_is_wrong() {
        assert_eq!(grade(&truth(), &[("delivered", "info", "all arrived")], 1), Grade::Wrong);
        assert_eq!(grade(&truth(), &[], 1), Grade::Wrong);
    }

    #[test]
    fn without_texts_only_the_rule_counts() {
        let truth = Truth { rule: vec!["stuck".to_owned()], ..Truth::default() };
        assert_eq!(grade(&truth, &[("delivered", "info", "x")], 0), Grade::Wrong);
        assert_eq!(grade(&truth, &[("stuck", "info", "x")], 0), Grade::Right);
    }

    #[test]
    fn an_alarm_about_a_healthy_case_is_wrong() {
        let truth = Truth { healthy: true, ..Truth::default() };
        let fine = ("delivered", "info", "all arrived");
        assert_eq!(grade(&truth, &[fine], 0), Grade::Right);
        assert_eq!(grade(&truth, &[], 0), Grade::Right);
        assert_eq!(grade(&truth, &[fine], 1), Grade::Wrong);
        assert_eq!(grade(&truth, &[fine, ("unread", "warning", "x")], 0), Grade::Wrong);
    }

    #[test]
    fn an_expectation_is_one_line() {
        assert_eq!(expectation(&truth()), "unread `5,000 B` `python3`, exit 1");
    }
}
