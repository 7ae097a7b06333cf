//! Signing in to a server, and the tokens that every other action takes along.
//!
//! The tokens are files in the folder that `MCP_TOKENS` names, or in `~/.local/state/mcp-example`.

use super::terminal::Terminal;
use shared_fate_mcp::oauth::{FileStore, Loopback, OAuth};
use shared_fate_mcp::{Error, Http};
use std::env;
use std::path::PathBuf;

#[derive(Clone, Copy)]
pub(crate) enum SignIn {
    Login,
    Status,
    Logout,
}

/// Who this program is to servers; `None` where there is no place for tokens, which it says.
pub(crate) fn identity(terminal: &Terminal) -> Option<OAuth> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state/mcp-example"));
    let Some(folder) = env::var_os("MCP_TOKENS").map(PathBuf::from).or_else(home) else {
        terminal.line("there is no place for tokens: set MCP_TOKENS");
        return None;
    };
    let store = match FileStore::new(folder) {
        Ok(store) => store,
        Err(error) => {
            terminal.line(&format!("there is no place for tokens: {error}"));
            return None;
        }
    };
    let shown = terminal.clone();
    let consent = Loopback::new(move |url| shown.line(&format!("please visit {url}")));
    Some(OAuth::builder().store(store).consent(consent).build())
}

/// Does what is asked, and returns what is to be printed.
pub(crate) async fn sign_in(oauth: &OAuth, url: &str, what: SignIn) -> Result<String, Error> {
    let http = Http::new(url)?.oauth(oauth);
    if let SignIn::Login = what {
        oauth.login(&http).await?;
    }
    if let SignIn::Logout = what {
        oauth.logout(&http).await?;
    }
    Ok(match oauth.status(&http).await? {
        Some(status) if status.has_access => {
            let scopes = status.scopes.join(" ");
            format!("signed in with {}, for: {scopes}\n", status.issuer)
        }
        _ => "not signed in\n".to_owned(),
    })
}
