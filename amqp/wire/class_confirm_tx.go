package wire

// The confirm class (extension) and the tx class.

// ConfirmSelect is confirm.select: turns publisher confirms on (client).
type ConfirmSelect struct {
	NoWait bool
}

// ID implements Method.
func (*ConfirmSelect) ID() MethodID { return IDConfirmSelect }

func (m *ConfirmSelect) args(a *args) { a.bits(&m.NoWait) }

// ConfirmSelectOk is confirm.select-ok: confirms that (server).
type ConfirmSelectOk struct{ noArguments }

// ID implements Method.
func (*ConfirmSelectOk) ID() MethodID { return IDConfirmSelectOk }

// TxSelect is tx.select: makes the channel transactional (client).
type TxSelect struct{ noArguments }

// ID implements Method.
func (*TxSelect) ID() MethodID { return IDTxSelect }

// TxSelectOk is tx.select-ok: confirms that (server).
type TxSelectOk struct{ noArguments }

// ID implements Method.
func (*TxSelectOk) ID() MethodID { return IDTxSelectOk }

// TxCommit is tx.commit: commits (client).
type TxCommit struct{ noArguments }

// ID implements Method.
func (*TxCommit) ID() MethodID { return IDTxCommit }

// TxCommitOk is tx.commit-ok: confirms that (server).
type TxCommitOk struct{ noArguments }

// ID implements Method.
func (*TxCommitOk) ID() MethodID { return IDTxCommitOk }

// TxRollback is tx.rollback: rolls back (client).
type TxRollback struct{ noArguments }

// ID implements Method.
func (*TxRollback) ID() MethodID { return IDTxRollback }

// TxRollbackOk is tx.rollback-ok: confirms that (server).
type TxRollbackOk struct{ noArguments }

// ID implements Method.
func (*TxRollbackOk) ID() MethodID { return IDTxRollbackOk }
