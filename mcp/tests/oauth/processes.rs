//! Several processes with the tokens of one user.

use crate::fault::run::once;
use crate::kit::{Both, works};
use crate::store::new_folder;
use shared_fate_mcp::oauth::{FileStore, OAuth};
use shared_fate_mcp::{Client, Http};
use std::process::{Command, Stdio};

const FOLDER: &str = "SHARED_FATE_OAUTH_FOLDER";
const URL: &str = "SHARED_FATE_OAUTH_URL";

/// What each of the processes does: one call, with the tokens that are stored.
#[test]
fn a_process_of_its_own() {
    let (Ok(folder), Ok(url)) = (std::env::var(FOLDER), std::env::var(URL)) else { return };
    once(async move |run| {
        let oauth = OAuth::builder().store(FileStore::new(&folder).unwrap()).build();
        let connected = Client::connect(Http::new(&url).unwrap().oauth(&oauth)).await.unwrap();
        works(run, connected).await;
    });
}

#[test]
fn oa_73_processes_that_find_the_token_over_refresh_it_once() {
    const PROCESSES: usize = 4;
    once(async |_| {
        let folder = new_folder();
        let both = Both::start();
        let oauth = both.builder().store(FileStore::new(&folder).unwrap()).build();
        oauth.login(&both.http(&oauth)).await.unwrap();
        for round in 1..=2 {
            both.books().expire();
            let children: Vec<_> = (0..PROCESSES)
                .map(|_| {
                    Command::new(std::env::current_exe().unwrap())
                        .args(["--exact", "processes::a_process_of_its_own", "--nocapture"])
                        .env(FOLDER, &folder)
                        .env(URL, both.server.url())
                        .stdout(Stdio::piped())
                        .stderr(Stdio::piped())
                        .spawn()
                        .unwrap()
                })
                .collect();
            for child in children {
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
            assert_eq!(both.seen(|it| (it.refreshes, it.is_revoked)), (round, false));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    });
}
