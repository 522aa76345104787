//! The workload of a place: the name that stays the same when its pods, containers and instances are replaced.

use tracer_history::Place;

/// The longest value of a label, in bytes.
const LONGEST: usize = 96;
/// What stands for places that have no series of their own.
pub(super) const OTHER: &str = "other";
/// The workload of commands in no container, pod or unit.
const HOST: &str = "host";

/// Where commands run, as labels. Empty if it is not known, or if there is no such thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Where {
    /// Kubernetes namespace of the pod.
    pub(super) namespace: String,
    /// The pod's controller, the container's service, or the unit.
    pub(super) workload: String,
    /// Name of the container; in a pod, its name within the pod.
    pub(super) container: String,
}

impl Where {
    /// The labels of a place. No pid, hash or path gets into them.
    pub(super) fn of(place: &Place) -> Self {
        let (namespace, container) = (place.namespace.as_deref(), place.container.as_deref());
        let (workload, container) = match (place.pod.as_deref(), container, place.unit.as_deref()) {
            (Some(pod), container, _) => (of_pod(pod), container.unwrap_or_default()),
            (None, Some(container), _) => {
                let name = without_task(container);
                (without_number(name), name)
            }
            (None, None, _) if place.container_id.is_some() => ("", ""),
            (None, None, Some(unit)) => return Self::of_unit(unit),
            (None, None, None) => (HOST, ""),
        };
        Self {
            namespace: clean(namespace.unwrap_or_default()),
            workload: clean(workload),
            container: clean(container),
        }
    }

    fn of_unit(unit: &str) -> Self {
        Self { workload: clean(&without_instance(unit)), ..Self::default() }
    }

    /// What stands for places beyond the limit.
    pub(super) fn other() -> Self {
        let other = || OTHER.to_owned();
        Self { namespace: other(), workload: other(), container: other() }
    }
}

/// A name as the value of a label: without control characters, and not too long.
fn clean(name: &str) -> String {
    let mut cleaned = String::with_capacity(name.len().min(LONGEST));
    for char in name.chars().map(|char| if char.is_control() { '?' } else { char }) {
        if cleaned.len() + char.len_utf8() > LONGEST {
            break;
        }
        cleaned.push(char);
    }
    cleaned
}

/// The name in front of the last `-`, if what is behind it is as wanted. Never empty.
fn before(name: &str, is_wanted: impl Fn(&str) -> bool) -> Option<&str> {
    let (front, back) = name.rsplit_once('-')?;
    (!front.is_empty() && is_wanted(back)).then_some(front)
}

/// The controller of a pod, from the names that Kubernetes' controllers give to pods.
fn of_pod(pod: &str) -> &str {
    let pod = without_uuid(pod);
    // Of a StatefulSet; of a workflow, with a hash of ten digits.
    if let Some(front) = before(pod, is_number) {
        return before(front, is_random).filter(|_| pod.len() - front.len() > 9).unwrap_or(front);
    }
    // Of a DaemonSet, ReplicaSet or Job; of the latter two, with the hash of the template, or the minute or index.
    let Some(front) = before(pod, is_random) else { return pod };
    before(front, is_template_hash).or_else(|| before(front, is_number)).unwrap_or(front)
}

/// The five characters at the end of generated names (`SafeEncodeString`, apimachinery/pkg/util/rand).
fn is_random(part: &str) -> bool {
    let is_safe = |byte: u8| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte);
    let has_both = part.bytes().any(|byte| byte.is_ascii_digit())
        && part.bytes().any(|byte| byte.is_ascii_lowercase())
        && part.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    part.len() == 5 && (part.bytes().all(is_safe) || has_both)
}

/// `pod-template-hash`: a decimal number of 32 bits, each digit of which stands for one of these characters.
fn is_template_hash(part: &str) -> bool {
    (5..=10).contains(&part.len()) && part.bytes().all(|byte| b"456789bcdf".contains(&byte))
}

fn is_number(part: &str) -> bool {
    (1..=10).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_hex(part: &str) -> bool {
    part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A name without a UUID at its end, as Nomad gives to containers.
fn without_uuid(name: &str) -> &str {
    let cut = name.len().checked_sub(37).and_then(|at| name.split_at_checked(at));
    let Some((front, uuid)) = cut.filter(|(front, _)| !front.is_empty()) else { return name };
    let mut parts = uuid.split('-');
    let lengths = [0, 8, 4, 4, 4, 12];
    let is_uuid = parts.clone().count() == lengths.len()
        && lengths
            .iter()
            .all(|length| parts.next().is_some_and(|part| part.len() == *length && is_hex(part)));
    if is_uuid { front } else { name }
}

/// The name of a container without the id that Swarm (`web.1.TASK`) or Nomad gives to it.
fn without_task(name: &str) -> &str {
    let is_task = |part: &str| {
        part.len() == 25
            && part.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
    };
    match name.rsplit_once('.') {
        Some((front, task)) if is_task(task) && !front.is_empty() => front,
        _ => without_uuid(name),
    }
}

/// The name of a container without the number of its replica: `shop-web-2`, `shop_web_2`, `web.2`.
fn without_number(name: &str) -> &str {
    let cut = name.rsplit_once(['-', '_', '.']);
    match cut {
        Some((front, number)) if !front.is_empty() && is_number(number) => front,
        _ => name,
    }
}

/// The name of a unit without the instance, or without the number of a transient one.
fn without_instance(unit: &str) -> String {
    let (name, kind) = unit.rsplit_once('.').unwrap_or((unit, ""));
    let dot = if kind.is_empty() { "" } else { "." };
    if let Some((template, _)) = name.split_once('@') {
        return format!("{template}@{dot}{kind}");
    }
    // `systemd-run` makes `run-u7`, `run-r0123…` and `run-p7-i8`; sessions and applications have a number or a hash.
    let is_transient = |part: &str| {
        is_number(part)
            || part.len() >= 8 && is_hex(part)
            || part.split_at_checked(1).is_some_and(|(letter, id)| {
                ["u", "r", "p", "i"].contains(&letter)
                    && !id.is_empty()
                    && is_hex(id)
                    && name.starts_with("run-")
            })
    };
    let mut name = name;
    while let Some(front) = before(name, is_transient).filter(|_| is_made(name, kind)) {
        name = front;
    }
    format!("{name}{dot}{kind}")
}

/// Whether a unit may have been made by a program, with a number in its name.
fn is_made(name: &str, kind: &str) -> bool {
    kind == "scope" || name.starts_with("run-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pods_of_a_controller_have_one_workload() {
        for (pod, workload) in [
            ("web-7d4b9c6f5-x2x9p", "web"),
            ("my-web-2-7d4b9c6f5-x2x9p", "my-web-2"),
            ("web-0", "web"),
            ("kafka-zoo-12", "kafka-zoo"),
            ("agent-abc12", "agent"),
            ("agent-xkzvb", "agent"),
            ("report-28391029-8xk2p", "report"),
            ("batch-3-8xk2p", "batch"),
            ("flow-8xk2p-1234567890", "flow"),
            ("my-proxy", "my-proxy"),
            ("nginx", "nginx"),
            ("-abc12", "-abc12"),
            ("7d4b9c6f5-x2x9p", "7d4b9c6f5"),
            ("task-3fa85f64-5717-4562-b3fc-2c963f66afa6", "task"),
        ] {
            assert_eq!(of_pod(pod), workload, "{pod}");
        }
    }

    #[test]
    fn containers_and_units_have_the_name_that_stays() {
        let of = |container: &str| {
            let place = Place { container: Some(container.into()), ..Place::default() };
            let labels = Where::of(&place);
            (labels.workload, labels.container)
        };
        let named = |workload: &str, container: &str| (workload.to_owned(), container.to_owned());
        assert_eq!(of("shop-web-2"), named("shop-web", "shop-web-2"));
        assert_eq!(of("shop_web_2"), named("shop_web", "shop_web_2"));
        assert_eq!(of("web.2.k3j4h5k3j4h5k3j4h5k3j4h5k"), named("web", "web.2"));
        assert_eq!(of("job-3fa85f64-5717-4562-b3fc-2c963f66afa6"), named("job", "job"));
        assert_eq!(of("db"), named("db", "db"));
        for (unit, workload) in [
            ("nginx.service", "nginx.service"),
            ("getty@tty1.service", "getty@.service"),
            ("user@1000.service", "user@.service"),
            ("session-12.scope", "session.scope"),
            ("run-u37.service", "run.service"),
            ("run-r0123456789abcdef0123456789abcdef.scope", "run.scope"),
            ("run-p412-i413.service", "run.service"),
            ("app-firefox-4711.scope", "app-firefox.scope"),
            ("worker-2.service", "worker-2.service"),
        ] {
            let place = Place { unit: Some(unit.into()), ..Place::default() };
            assert_eq!(Where::of(&place).workload, workload);
        }
    }

    #[test]
    fn what_is_not_known_is_empty_and_what_is_in_no_container_is_the_hosts() {
        let unnamed = Place { container_id: Some("0123".into()), ..Place::default() };
        assert_eq!(Where::of(&unnamed), Where::default());
        assert_eq!(Where::of(&Place::default()).workload, "host");
        let pod = Place {
            namespace: Some("prod".into()),
            pod: Some("web-0".into()),
            container: Some("app-1".into()),
            unit: Some("kubelet.service".into()),
            ..Place::default()
        };
        let labels = Where::of(&pod);
        let labels = [&*labels.namespace, &*labels.workload, &*labels.container];
        assert_eq!(labels, ["prod", "web", "app-1"]);
    }

    #[test]
    fn a_hostile_name_is_cut_and_has_no_control_characters() {
        let long = "ä".repeat(500);
        let cut = clean(&long);
        assert!(cut.len() <= LONGEST && long.starts_with(&cut) && cut.len() > LONGEST - 2);
        assert_eq!(clean("a\nb\u{1b}[31m\"\\\u{0}"), "a?b?[31m\"\\?");
    }
}
