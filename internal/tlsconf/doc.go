// Package tlsconf reads what the broker needs to speak TLS from files, and reads it again when they
// change.
//
//	--tls-cert ┐
//	--tls-key  ├─ Load ─► Source ─ Config ─► a listener, for each connection
//	--tls-ca   ┘            ▲
//	                        └─ Reload: a signal, or Watch saw that the files are others
//
// What can't work is refused at the start, with the flag and the file in the error: a key that is missing or
// belongs to another certificate, a file that holds something else. What works badly is a warning: a
// certificate that has expired or will soon, one that names no host, a key that everybody may read. While the
// broker runs, what is wrong with new files is an error in the log, and the old ones stay in use.
//
// TLS 1.2 and 1.3 are spoken, with ciphers that have forward secrecy and authenticate what they encrypt.
// It knows no socket and no protocol, and imports nothing of this module.
package tlsconf
