//! The numbers of nf_tables over netlink: `linux/netfilter/nf_tables.h`, `linux/netfilter/nfnetlink.h`.

pub(super) const NETLINK_NETFILTER: isize = 12;
pub(super) const SUBSYS: u16 = 10 << 8;
pub(super) const BATCH_BEGIN: u16 = 0x10;
pub(super) const BATCH_END: u16 = 0x11;
/// nfgenmsg of both ends of a transaction: any family, version 0, and the subsystem (10, nf_tables) as big-endian `res_id`.
pub(super) const BATCH_HEAD: [u8; 4] = [0, 0, 0, 10];
pub(super) const NFPROTO_INET: u8 = 1;
pub(super) const NFPROTO_IPV4: u8 = 2;
pub(super) const NFPROTO_IPV6: u8 = 10;
pub(super) const HOOK_PREROUTING: u32 = 0;

// enum nf_tables_msg_types
pub(super) const NEWTABLE: u16 = SUBSYS;
pub(super) const GETTABLE: u16 = SUBSYS | 1;
pub(super) const DELTABLE: u16 = SUBSYS | 2;
pub(super) const NEWCHAIN: u16 = SUBSYS | 3;
pub(super) const GETCHAIN: u16 = SUBSYS | 4;
pub(super) const NEWRULE: u16 = SUBSYS | 6;
pub(super) const GETRULE: u16 = SUBSYS | 7;
pub(super) const DELRULE: u16 = SUBSYS | 8;
pub(super) const NEWSET: u16 = SUBSYS | 9;
pub(super) const GETSET: u16 = SUBSYS | 10;
pub(super) const DELSET: u16 = SUBSYS | 11;
pub(super) const NEWSETELEM: u16 = SUBSYS | 12;
pub(super) const GETSETELEM: u16 = SUBSYS | 13;
pub(super) const DELSETELEM: u16 = SUBSYS | 14;
pub(super) const GETGEN: u16 = SUBSYS | 16;

// Attributes, by the object they belong to.
pub(super) const TABLE_NAME: u16 = 1;
pub(super) const CHAIN_TABLE: u16 = 1;
pub(super) const CHAIN_NAME: u16 = 3;
pub(super) const CHAIN_HOOK: u16 = 4;
pub(super) const CHAIN_POLICY: u16 = 5;
pub(super) const CHAIN_TYPE: u16 = 7;
pub(super) const HOOK_NUM: u16 = 1;
pub(super) const HOOK_PRIORITY: u16 = 2;
pub(super) const RULE_TABLE: u16 = 1;
pub(super) const RULE_CHAIN: u16 = 2;
pub(super) const RULE_HANDLE: u16 = 3;
pub(super) const RULE_EXPRESSIONS: u16 = 4;
pub(super) const SET_TABLE: u16 = 1;
pub(super) const SET_NAME: u16 = 2;
pub(super) const SET_FLAGS: u16 = 3;
pub(super) const SET_KEY_TYPE: u16 = 4;
pub(super) const SET_KEY_LEN: u16 = 5;
pub(super) const SET_ID: u16 = 10;
pub(super) const SET_EXPR: u16 = 17;
pub(super) const SET_FLAG_TIMEOUT: u32 = 0x10;
pub(super) const ELEMENTS_TABLE: u16 = 1;
pub(super) const ELEMENTS_SET: u16 = 2;
pub(super) const ELEMENTS: u16 = 3;
pub(super) const ELEMENT_KEY: u16 = 1;
pub(super) const ELEMENT_TIMEOUT: u16 = 4;
pub(super) const ELEMENT_EXPIRATION: u16 = 5;
pub(super) const ELEMENT_EXPR: u16 = 7;
pub(super) const ELEMENT_EXPRESSIONS: u16 = 11;
pub(super) const LIST_ELEM: u16 = 1;
pub(super) const DATA_VALUE: u16 = 1;
pub(super) const DATA_VERDICT: u16 = 2;
pub(super) const VERDICT_CODE: u16 = 1;
pub(super) const EXPR_NAME: u16 = 1;
pub(super) const EXPR_DATA: u16 = 2;
pub(super) const GEN_ID: u16 = 1;
pub(super) const COUNTER_BYTES: u16 = 1;
pub(super) const COUNTER_PACKETS: u16 = 2;

pub(super) const NF_DROP: u32 = 0;
pub(super) const NF_ACCEPT: u32 = 1;
pub(super) const REG_VERDICT: u32 = 0;
pub(super) const REG_1: u32 = 1;

// nft's own numbers of types (`include/datatype.h` of nftables): only for showing the elements as what they are.
pub(super) const TYPE_IPADDR: u32 = 7;
pub(super) const TYPE_IP6ADDR: u32 = 8;
pub(super) const TYPE_INET_SERVICE: u32 = 13;

pub(super) const EPERM: i32 = 1;
pub(super) const ENOENT: i32 = 2;
pub(super) const EOPNOTSUPP: i32 = 95;
pub(super) const EAFNOSUPPORT: i32 = 97;
pub(super) const EPROTONOSUPPORT: i32 = 93;
pub(super) const EINVAL: i32 = 22;
