//! stub
#![allow(missing_docs)]
use crate::resp::{Args, Error, Output, Protocol, Reply};
use std::sync::Arc;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Continue,
    Kill,
    Timeout,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclAnswer {
    Allowed,
    Denied,
    Invalid,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Debug = 0,
    Verbose = 1,
    Notice = 2,
    Warning = 3,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation {
    pub to_file: bool,
    pub to_replicas: bool,
}
pub trait Host {
    fn call(&mut self, args: Args<'_>, protocol: Protocol, reply: &mut Output);
    fn pause(&mut self) -> Verdict;
    fn log(&mut self, level: LogLevel, line: &[u8]);
    fn acl_check(&mut self, args: Args<'_>) -> AclAnswer;
    fn set_propagation(&mut self, to: Propagation);
    fn count_error(&mut self, text: &[u8]);
}
#[derive(Clone, Copy, Debug, Default)]
pub struct VmOptions {
    pub insecure_api: bool,
    pub seed: u64,
}
#[derive(Debug)]
pub struct Vm;
impl Vm {
    pub fn new(_: VmOptions) -> Vm {
        Vm
    }
    pub fn run_script(
        &mut self,
        _s: &Arc<Script>,
        _i: &Invocation<'_, '_>,
        _h: &mut dyn Host,
        r: &mut Reply<'_>,
    ) -> bool {
        r.ok();
        false
    }
}
pub struct Invocation<'a, 'b> {
    pub args: &'a Args<'b>,
    pub keys: usize,
}
#[derive(Debug, Default)]
pub struct Scripts;
#[derive(Debug)]
pub struct Script;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Eval,
    Load,
}
impl Scripts {
    pub fn new(_: VmOptions) -> Scripts {
        Scripts
    }
    pub fn options(&self) -> VmOptions {
        VmOptions::default()
    }
    pub fn by_body(&self, _: &[u8]) -> Option<Arc<Script>> {
        None
    }
    pub fn by_sha(&self, _: &[u8]) -> Option<Arc<Script>> {
        None
    }
    pub fn add(
        &self,
        _: &[u8],
        _: Origin,
        _c: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Arc<Script>, Error> {
        Ok(Arc::new(Script))
    }
    pub fn flush(&self) {}
    pub fn len(&self) -> usize {
        0
    }
    pub fn bytes(&self) -> usize {
        0
    }
    pub fn evicted(&self) -> u64 {
        0
    }
}
#[derive(Clone, Copy, Debug)]
pub struct ScriptFlags;
impl ScriptFlags {
    pub fn is_compat(self) -> bool {
        true
    }
    pub fn no_writes(self) -> bool {
        false
    }
    pub fn allow_oom(self) -> bool {
        false
    }
}
impl Script {
    pub fn is_confined(&self) -> bool {
        false
    }
    pub fn flags(&self) -> ScriptFlags {
        ScriptFlags
    }
    pub fn sha(&self) -> &str {
        ""
    }
    pub fn body(&self) -> &[u8] {
        b""
    }
}
