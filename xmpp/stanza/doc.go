// Package stanza is XMPP's XML in bytes: the streams of RFC 6120 cut into elements, elements written, addresses and
// errors. It knows no socket and no broker.
//
//	bytes ─► Source ─► Reader ─► Element …        Element ─► AppendTo ─► bytes
//	                    │ byte, depth and count limits
//	                    ▼
//	              encoding/xml RawToken: one token, names unresolved
//
// The Reader resolves namespaces itself, and refuses what RFC 6120 section 11.1 leaves out of XML: comments,
// processing instructions, declarations of documents and with them every entity but the five of XML.
package stanza
