package wire

// The confirm class (extension) and the tx class.

// ConfirmSelect is confirm.select: turns publisher confirms on (client).
type ConfirmSelect struct {
	NoWait bool
}

// ID implements Method.
func (*ConfirmSelect) ID() MethodID { return IDConfirmSelect }

// AppendTo implements Method.
func (m *ConfirmSelect) AppendTo(buf []byte) []byte { return append(buf, bits(m.NoWait)) }

func (m *ConfirmSelect) decode(r *decoder) { m.NoWait = bit(r.u8(), 0) }

// ConfirmSelectOk is confirm.select-ok: confirms that (server).
type ConfirmSelectOk struct{}

// ID implements Method.
func (*ConfirmSelectOk) ID() MethodID { return IDConfirmSelectOk }

// AppendTo implements Method.
func (*ConfirmSelectOk) AppendTo(buf []byte) []byte { return buf }

func (*ConfirmSelectOk) decode(*decoder) {}

// TxSelect is tx.select: makes the channel transactional (client).
type TxSelect struct{}

// ID implements Method.
func (*TxSelect) ID() MethodID { return IDTxSelect }

// AppendTo implements Method.
func (*TxSelect) AppendTo(buf []byte) []byte { return buf }

func (*TxSelect) decode(*decoder) {}

// TxSelectOk is tx.select-ok: confirms that (server).
type TxSelectOk struct{}

// ID implements Method.
func (*TxSelectOk) ID() MethodID { return IDTxSelectOk }

// AppendTo implements Method.
func (*TxSelectOk) AppendTo(buf []byte) []byte { return buf }

func (*TxSelectOk) decode(*decoder) {}

// TxCommit is tx.commit: commits (client).
type TxCommit struct{}

// ID implements Method.
func (*TxCommit) ID() MethodID { return IDTxCommit }

// AppendTo implements Method.
func (*TxCommit) AppendTo(buf []byte) []byte { return buf }

func (*TxCommit) decode(*decoder) {}

// TxCommitOk is tx.commit-ok: confirms that (server).
type TxCommitOk struct{}

// ID implements Method.
func (*TxCommitOk) ID() MethodID { return IDTxCommitOk }

// AppendTo implements Method.
func (*TxCommitOk) AppendTo(buf []byte) []byte { return buf }

func (*TxCommitOk) decode(*decoder) {}

// TxRollback is tx.rollback: rolls back (client).
type TxRollback struct{}

// ID implements Method.
func (*TxRollback) ID() MethodID { return IDTxRollback }

// AppendTo implements Method.
func (*TxRollback) AppendTo(buf []byte) []byte { return buf }

func (*TxRollback) decode(*decoder) {}

// TxRollbackOk is tx.rollback-ok: confirms that (server).
type TxRollbackOk struct{}

// ID implements Method.
func (*TxRollbackOk) ID() MethodID { return IDTxRollbackOk }

// AppendTo implements Method.
func (*TxRollbackOk) AppendTo(buf []byte) []byte { return buf }

func (*TxRollbackOk) decode(*decoder) {}
