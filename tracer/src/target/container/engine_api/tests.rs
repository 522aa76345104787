use std::{os::unix::net::UnixListener, thread};

use super::*;

/// Answers each connection with the next of `answers`. Returns the requests.
fn serve(socket: &Path, answers: Vec<&'static str>) -> thread::JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            asked.push(String::from_utf8_lossy(&request[..length]).into_owned());
            stream.write_all(answer.as_bytes()).unwrap();
        }
        asked
    })
}

#[test]
fn a_listed_container_tells_its_names_and_its_first_process() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let list = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n\
        [{\"Id\":\"ab12\",\"Names\":[\"/web\",\"/proxy/backend\"]},\
        {\"Id\":\"cd34\",\"Names\":null}]";
    let inspect = "HTTP/1.0 200 OK\r\nContent-Length: 39\r\n\r\n\
        {\"State\":{\"Pid\":42,\"Status\":\"running\"}}";
    let server = serve(&socket, vec![list, inspect]);

    let survey = survey(&Roots::host(), Engine::Docker, std::slice::from_ref(&socket));
    assert_eq!(survey.answer.answer, Answer::Listed(2));
    assert_eq!(survey.candidates[0].names, ["web"], "an alias is no name");
    assert!(survey.candidates[1].names.is_empty());
    let Init::Ask(api) = &survey.candidates[0].init else { panic!("no api") };
    let state = api.init_state("ab12").unwrap();
    assert_eq!((state.pid, state.status.as_str()), (42, "running"));

    let asked = server.join().unwrap();
    assert!(asked[0].starts_with("GET /containers/json?all=1 HTTP/1.0\r\n"));
    assert!(asked[0].contains("\r\nConnection: close\r\n"));
    assert!(asked[1].starts_with("GET /containers/ab12/json HTTP/1.0\r\n"));
}

#[test]
fn actions_of_a_container_are_asked_for_by_kind_and_time() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let two = "HTTP/1.0 200 OK\r\n\r\n{\"Action\":\"exec_start: ls \",\"Actor\":{\"Attributes\":{\"execID\":\"e1\"}}}\n\
        {\"Action\":\"exec_start: sh -c x\"}\n";
    let exec = |pid: &str| {
        format!("HTTP/1.0 200 OK\r\n\r\n{{\"ExitCode\":126,\"Pid\":{pid}}}").leak() as &str
    };
    let empty = "HTTP/1.0 200 OK\r\n\r\n";
    let server = serve(&socket, vec![two, empty, exec("0"), exec("7")]);
    let api = EngineApi::at(socket);
    let ask = || api.actions("ab12", "exec_start", [1.5, 2.0], PATIENCE).unwrap();
    let found = ask();
    let actions: Vec<_> = found.iter().map(|happened| happened.action.as_str()).collect();
    assert_eq!(actions, ["exec_start: ls ", "exec_start: sh -c x"]);
    assert!(ask().is_empty());
    assert!(!api.has_run(&found[0], PATIENCE) && api.has_run(&found[0], PATIENCE));
    assert!(api.has_run(&found[1], PATIENCE), "no exec is named");
    let asked = server.join().unwrap();
    let begin = "GET /events?since=1.500000000&until=2.000000000&filters=%7B%22container%22%3A";
    assert!(asked[0].starts_with(begin), "{}", asked[0]);
    assert!(asked[2].starts_with("GET /exec/e1/json "), "{}", asked[2]);
}

#[test]
fn a_socket_nobody_listens_on_is_a_failure_with_its_cure() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let survey = survey(&Roots::host(), Engine::Docker, &[socket]);
    let message = survey.answer.to_string();
    assert!(message.starts_with("docker: nobody listens on /"), "{message}");
    assert!(message.ends_with("start the engine"), "{message}");
}

#[test]
fn a_missing_socket_means_no_engine() {
    let survey =
        survey(&Roots::host(), Engine::Podman, &[PathBuf::from("/nonexistent/podman.sock")]);
    assert_eq!(survey.answer.to_string(), "podman: nothing at /nonexistent/podman.sock");
}

#[test]
fn an_unexpected_answer_is_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    for (name, answer, expected) in [
        ("a", "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "status 500"),
        ("b", "220 mail.example ESMTP\r\n", "no HTTP"),
        ("c", "HTTP/1.1 200 OK\r\n", "no HTTP"),
        ("d", "HTTP/1.1 2", "no HTTP"),
        ("e", "HTTP/1.1 two OK\r\n\r\n", "no HTTP"),
        ("f", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "form"),
        ("g", "HTTP/1.0 200 OK\r\n\r\n[{\"Id\":\"ab12\"}", "form"),
    ] {
        let socket = directory.path().join(name);
        let server = serve(&socket, vec![answer]);
        let survey = survey(&Roots::host(), Engine::Docker, &[socket]);
        assert!(survey.answer.to_string().contains(expected), "{}", survey.answer);
        server.join().unwrap();
    }
}

#[test]
fn an_engine_that_answers_a_byte_at_a_time_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
    });
    let error = exchange(&socket, "/", Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut));
    server.join().unwrap();
}
