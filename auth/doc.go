// Package auth knows users and checks their passwords.
//
// It owns the set of users, the form in which passwords are stored, and the
// rule that some users may log in only from this machine. It does not know any
// protocol: a listener hands over what its client sent (a name and a password, the bytes
// of a SASL PLAIN response, or those of a SCRAM exchange, step by step) with the client's
// address, and turns the one error it may get back into its protocol's own refusal. Where
// users are stored, and what they may do, is package access's.
//
//	amqp, kafka ──► Users.Login / Plain / Scram / Anonymous ──► Identity
//	                         │
//	                         ├─ too many wait   ─► not looked at
//	                         ├─ unknown name    ─► the same work as a wrong password
//	                         ├─ loopback only   ─► refused from any other address
//	                         ├─ by SCRAM        ─► two hashes of a few bytes; of nobody, a decoy's
//	                         ├─ seen before     ─► keyed digest, about a microsecond
//	                         └─ first time      ─► argon2id, tens of milliseconds, few at once
//
// Stored passwords are argon2id hashes with their own salt, in the usual text
// form ($argon2id$v=19$m=…,t=…,p=…$salt$hash), with the keys that each SCRAM mechanism
// needs. What RabbitMQ has stored can be taken over; it is quick to guess and tells nothing
// of SCRAM's keys, so it is stored anew at the first login that shows the password. Because that is slow on purpose,
// a password that was right once is remembered as a digest under a random key
// that lives only in this process, so that ten thousand connections of one user
// cost one hash. Of wrong passwords is remembered how many there were, by source
// and by name: a guess is answered the later the more there were, and a source that
// guesses has few logins looked at at a time. All such sources together leave room for
// the others, who come first when there is a hash to make.
//
// The package must not import any other package of this module, must not log a
// password and must not keep one longer than the call that brought it.
package auth
