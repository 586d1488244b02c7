// Package audit writes what an owner may have to account for: administrative acts,
// done or refused, and what clients were refused for want of a login or a right.
//
// Each is one structured line of a level of its own, which is printed as AUDIT
// whatever the least level of the log is, and by a Handler to a file of its own too:
//
//	level=AUDIT msg=audit act=user.put on="user 'ann'" by=root from=192.0.2.7:5000 protocol=kafka outcome=done
//	level=AUDIT msg=audit act=login by=ann from=192.0.2.9:4711 protocol=amqp outcome=refused reason="wrong password"
//
//	act       what was asked for: one of the names below, or the verb of a protocol
//	on        on what; left out where the act says it
//	vhost     in which virtual host, where it is in one
//	by        the user who asked; left out where nobody logged in
//	from      the address that it came from, or where else: a file, a signal
//	protocol  amqp, kafka, …; process for what the broker's owner does on its machine
//	outcome   done, refused or failed
//	reason    why it was not done
//
// What clients declare, delete and use within their rights is no administrative act
// and leaves no line. Whoever acts is handed down as an Actor to where the act is
// done, and there it is recorded, so that no listener can forget it; refusals that a
// client can repeat without end go through the listener's netx.Log, which says each
// cause once an interval.
//
// The package imports nothing of this module. It must be given no password, hash or key.
package audit
