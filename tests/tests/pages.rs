//! Reports as pages and graphs, in the programs that show them: a real Chromium, Graphviz, and Mermaid.
//!
//! `TRACER_SHOTS=DIR cargo test -p tracer-tests --test pages screens -- --ignored` keeps the pictures of the ten recorded
//! trees in DIR: light, dark, and as they are printed. `docs/report.png` is `make-light.png` of such a run.

use std::{
    env, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tracer_tests::{
    browser::{self, Opened},
    deadline::describe,
    privilege::require_root,
    refusal::run_command,
    tracer::binary,
};

/// Environment variable with the folder for screenshots.
const SHOTS_ENV: &str = "TRACER_SHOTS";

/// Size of the window of a screenshot, in pixels.
const SCREEN: (u32, u32) = (1280, 700);

/// Sets a mark on the document that shows that a script ran.
const SCRIPT: &str = "document.documentElement.dataset.ran=1";

/// Arguments of a traced program, and what a page or graph must show of them. Not longer than a name in a graph.
const HOSTILE: [(&str, &str); 20] = [
    ("<script>document.title='ran'</script>", r"<script>document.title='\''ran'\''</script>"),
    ("<img src=x onerror=document.title=1>", "<img src=x onerror=document.title=1>"),
    ("\" onload=\"document.title=2", "\" onload=\"document.title=2"),
    ("]]></style></svg></title><b>", "]]></style></svg></title><b>"),
    ("<!-- --> --!> <![CDATA[", "<!-- --> --!> <![CDATA["),
    ("&lt;i&gt; &#60; &amp;amp;", "&lt;i&gt; &#60; &amp;amp;"),
    ("a\nb\rc\td", r"a\nb\rc\td"),
    ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
    ("rev\u{202e}gnp.exe\u{2066}", r"rev\u{202e}gnp.exe\u{2066}"),
    ("zero\u{200b}width\u{feff}", r"zero\u{200b}width\u{feff}"),
    (r"\N \G \l \\ \", r"\N \G \l \\ \"),
    ("\"]; n0 -> n0 [label=\"", "\"]; n0 -> n0 [label=\""),
    ("\"]\" --> n1[\"x\"]", "\"]\" --> n1[\"x\"]"),
    ("#quot; #35; #lt;b", "#quot; #35; #lt;b"),
    ("style:#f00; classDef a:#b;", "style:#f00; classDef a:#b;"),
    ("%%{init: {\"theme\":1}}%%", "%%{init: {\"theme\":1}}%%"),
    ("`**bold** _it_`", "`**bold** _it_`"),
    ("click n0 call alert()", "click n0 call alert()"),
    ("end subgraph x; graph TD", "end subgraph x; graph TD"),
    ("\u{65e5}\u{672c} \u{627}\u{644} \u{1f427}", "\u{65e5}\u{672c} \u{627}\u{644} \u{1f427}"),
];

/// Traces `/bin/echo NAME | cat` for each name, and returns the recording.
fn record(names: &[&str], folder: &TempDir) -> Result<PathBuf> {
    let recording = folder.path().join("hostile.session");
    let script = "for name do /bin/echo \"$name\" | cat >/dev/null; done";
    let mut command = Command::new(binary()?);
    command.args(["-q", "--record"]).arg(&recording);
    run_command(command.args(["--", "/bin/sh", "-c", script, "sh"]).args(names))?;
    Ok(recording)
}

/// The report of a recording in this format, and a file that holds it.
fn report(recording: &Path, format: &str, folder: &TempDir) -> Result<(String, PathBuf)> {
    let file = folder.path().join(format!("report.{format}"));
    let mut command = Command::new(binary()?);
    command.arg("report").arg(recording).args(["--format", format, "-o"]).arg(&file);
    let output = run_command(&mut command)?;
    ensure!(output.status.code().is_some_and(|code| code < 2), "{}", describe(output.status));
    Ok((fs::read_to_string(&file)?, file))
}

fn opened(chromium: &Path, page: &str, folder: &TempDir) -> Result<Opened> {
    let file = folder.path().join("page.html");
    fs::write(&file, page)?;
    browser::open(chromium, &file)
}

/// Whether a script of a page ran.
fn ran(opened: &Opened) -> bool {
    opened.document.contains("data-ran=")
}

fn violates_policy(opened: &Opened) -> bool {
    opened.log.contains("Content Security Policy")
}

/// Text as it stands between the tags of a page.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Four names at a time, so that a graph shows all of them.
fn batches() -> impl Iterator<Item = &'static [(&'static str, &'static str)]> {
    HOSTILE.chunks(4)
}

#[test]
#[ignore = "needs root"]
fn a_hostile_session_is_only_text_in_chromium() -> Result<()> {
    require_root()?;
    let Some(chromium) = browser::find("chromium") else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let names: Vec<&str> = HOSTILE.iter().map(|(name, _)| *name).collect();
    let (page, file) = report(&record(&names, &folder)?, "html", &folder)?;
    let seen = browser::open(&chromium, &file)?;
    ensure!(!violates_policy(&seen), "the page violates its own policy: {}", seen.log);
    ensure!(seen.document.contains("<title>tracer: "), "another title: {}", seen.document);
    for markup in ["<script", "<img", "<b>", "<i>", "<!--"] {
        ensure!(!seen.document.contains(markup), "{markup} became markup");
    }
    for (name, shown) in HOSTILE {
        ensure!(seen.document.contains(&escaped(shown)), "{name:?} is not shown as {shown}");
    }
    check_policy(&chromium, &page, &folder)
}

/// If a name became markup all the same, the policy of the page would stop it. Without the policy, it would run.
fn check_policy(chromium: &Path, page: &str, folder: &TempDir) -> Result<()> {
    let attacks = [
        format!("<script>{SCRIPT}</script>"),
        format!("<img src=\"data:,\" onerror=\"{SCRIPT}\">"),
        format!("<svg onload=\"{SCRIPT}\"></svg>"),
        format!("<iframe srcdoc=\"<script>parent.{SCRIPT}</script>\"></iframe>"),
    ];
    let begin = page.find("<meta http-equiv=\"Content-Security-Policy\"").context("no policy")?;
    let end = begin + page[begin..].find('>').context("no end of the policy")? + 1;
    let without = [&page[..begin], &page[end..]].concat();
    for attack in attacks {
        let attacked = |page: &str| page.replace("<footer>", &format!("{attack}<footer>"));
        let seen = opened(chromium, &attacked(page), folder)?;
        ensure!(!ran(&seen) && violates_policy(&seen), "the policy allows {attack}: {}", seen.log);
        ensure!(ran(&opened(chromium, &attacked(&without), folder)?), "{attack} never runs");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn hostile_names_are_only_text_in_graphviz() -> Result<()> {
    require_root()?;
    let Some(dot) = browser::find("dot") else { return Ok(()) };
    for batch in batches() {
        let folder = tempfile::tempdir()?;
        let names: Vec<&str> = batch.iter().map(|(name, _)| *name).collect();
        let (graph, file) = report(&record(&names, &folder)?, "dot", &folder)?;
        let drawn = run_command(Command::new(&dot).arg("-Tsvg").arg(&file))?;
        let complaints = String::from_utf8_lossy(&drawn.stderr).into_owned();
        ensure!(drawn.status.success() && complaints.is_empty(), "{complaints}: {graph}");
        let drawn = plain(&String::from_utf8(drawn.stdout)?);
        for (name, shown) in batch {
            ensure!(drawn.contains(&format!("/bin/echo {}", typed(shown))), "{name:?}: {drawn}");
        }
    }
    Ok(())
}

/// The argument as a shell needs it.
fn typed(shown: &str) -> String {
    format!("'{shown}'")
}

/// Text of an SVG file without its entities.
fn plain(svg: &str) -> String {
    let mut text = String::new();
    let mut parts = svg.split('&');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (entity, rest) = part.split_once(';').unwrap_or((part, ""));
        let character = match entity {
            "lt" => Some('<'),
            "gt" => Some('>'),
            "amp" => Some('&'),
            "quot" => Some('"'),
            "#160" | "nbsp" => Some(' '),
            code => code.strip_prefix('#').and_then(|code| char::from_u32(code.parse().ok()?)),
        };
        text.extend(character);
        text.push_str(rest);
    }
    text
}

#[test]
#[ignore = "needs root"]
fn hostile_names_are_only_text_in_mermaid() -> Result<()> {
    require_root()?;
    let (Some(chromium), Some(mermaid)) = (browser::find("chromium"), browser::mermaid()) else {
        return Ok(());
    };
    for batch in batches() {
        let folder = tempfile::tempdir()?;
        let names: Vec<&str> = batch.iter().map(|(name, _)| *name).collect();
        let (graph, _) = report(&record(&names, &folder)?, "mermaid", &folder)?;
        let drawn = plain(&opened(&chromium, &drawing(&mermaid, &graph)?, &folder)?.document);
        // It keeps Mermaid from breaking the line at a backslash and an `n`.
        let drawn = drawn.replace('\u{2060}', "");
        ensure!(drawn.contains("id=\"done\""), "Mermaid refuses it: {drawn}: {graph}");
        for (name, shown) in batch {
            ensure!(drawn.contains(&format!("/bin/echo {}", typed(shown))), "{name:?}: {drawn}");
        }
    }
    Ok(())
}

/// A page that has Mermaid draw a graph, and lists the texts of its nodes.
fn drawing(mermaid: &Path, graph: &str) -> Result<String> {
    let graph = serde_json::to_string(graph)?.replace('<', "\\u003c");
    Ok(format!(
        r#"<!DOCTYPE html><meta charset="utf-8"><body><script src="file://{}"></script><script>
mermaid.initialize({{ startOnLoad: false, securityLevel: 'strict' }});
mermaid.render('graph', {graph}).then(({{ svg }}) => {{
  const drawing = document.createElement('div');
  drawing.innerHTML = svg;
  document.body.replaceChildren(drawing);
  const labels = [...document.querySelectorAll('.nodeLabel')].map((label) => label.innerText);
  const list = document.createElement('pre');
  list.id = 'done';
  list.textContent = labels.join('\n');
  document.body.replaceChildren(list);
}}, (error) => document.body.append('error: ' + error));
</script></body>"#,
        mermaid.display()
    ))
}

#[test]
#[ignore = "needs root"]
fn the_page_of_two_hundred_commands_is_small() -> Result<()> {
    require_root()?;
    let folder = tempfile::tempdir()?;
    let page = folder.path().join("page.html");
    let script =
        "n=0; while [ $n -lt 100 ]; do /bin/echo line $n | cat >/dev/null; n=$((n+1)); done";
    let mut command = Command::new(binary()?);
    command.args(["-q", "--format", "html", "-o"]).arg(&page);
    run_command(command.args(["--", "/bin/sh", "-c", script]))?;
    let text = fs::read_to_string(&page)?;
    ensure!(text.contains("<summary>Processes (201)</summary>"), "not all commands are on it");
    ensure!(text.len() < 1_000_000, "{} bytes", text.len());
    ensure!(fs::metadata(&page)?.mode() & 0o777 == 0o600, "others may read it");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn screens_of_real_trees_in_chromium() -> Result<()> {
    let Some(chromium) = browser::find("chromium") else { return Ok(()) };
    let trees = Path::new(env!("CARGO_MANIFEST_DIR")).join("sessions/trees");
    let folder = tempfile::tempdir()?;
    let kept = env::var_os(SHOTS_ENV).map_or_else(|| folder.path().to_owned(), PathBuf::from);
    for entry in fs::read_dir(&trees)? {
        let recording = entry?.path();
        if recording.extension().is_none_or(|extension| extension != "session") {
            continue;
        }
        let name = recording.file_stem().context("no name")?.to_string_lossy().into_owned();
        let (_, page) = report(&recording, "html", &folder)?;
        let file = |kind: &str| kept.join(format!("{name}-{kind}"));
        browser::screenshot(&chromium, &page, &file("light.png"), SCREEN, false)?;
        browser::screenshot(&chromium, &page, &file("dark.png"), SCREEN, true)?;
        browser::print(&chromium, &page, &file("print.pdf"))?;
        let (light, dark) = (fs::read(file("light.png"))?, fs::read(file("dark.png"))?);
        // An empty window is 5 kB.
        ensure!(light.len() > 20_000 && light != dark, "{name}: {} bytes", light.len());
        ensure!(fs::metadata(file("print.pdf"))?.len() > 10_000, "{name}: nothing is printed");
    }
    Ok(())
}
