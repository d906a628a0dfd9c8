//! What a request needs.

use portolan_model::ServiceKey;

/// What a request needs its caller to be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: anybody may know whether the program is alive.
    Nothing,
    /// What policies say of each resource: the front asks for itself.
    Rules,
    /// To be somebody, whoever it is.
    Name,
    /// To read what is registered and how it is served.
    Read,
    /// To register instances of this service and speak for them.
    Register(ServiceKey),
    /// To register instances of some service; which ones is in the body, and whoever reads
    /// that asks again.
    RegisterSome,
    /// To overrule: overrides, the guard's holds, maintenance.
    Operate,
    /// Everything.
    Admin,
}

impl Need {
    /// The scope that gives it, for refusals.
    #[must_use]
    pub fn scope(&self) -> String {
        match self {
            Self::Nothing | Self::Rules | Self::Name => "any".to_owned(),
            Self::Read => "read".to_owned(),
            Self::Register(key) => format!("register:{key}"),
            Self::RegisterSome => "register".to_owned(),
            Self::Operate => "operate".to_owned(),
            Self::Admin => "admin".to_owned(),
        }
    }
}

/// What a request does, as far as its method and path tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It changes nothing.
    Read,
    /// It says that an instance is alive and how it is: too many to remember.
    SignOfLife,
    /// It changes something.
    Change,
}
