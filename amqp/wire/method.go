package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MethodID is class number << 16 | method number, as it stands at the start of a method frame's payload.
type MethodID uint32

// Class and Number are the two halves of the id.
func (id MethodID) Class() uint16  { return uint16(id >> 16) }
func (id MethodID) Number() uint16 { return uint16(id) }

// String gives the specification's name, such as basic.publish.
func (id MethodID) String() string {
	if s, ok := methodNames[id]; ok {
		return s
	}
	return fmt.Sprintf("method %d/%d", id.Class(), id.Number())
}

// Class numbers.
const (
	ClassConnection = 10
	ClassChannel    = 20
	ClassAccess     = 30
	ClassExchange   = 40
	ClassQueue      = 50
	ClassBasic      = 60
	ClassConfirm    = 85
	ClassTx         = 90
)

// The methods of 0-9-1 and RabbitMQ's extensions to it.
const (
	IDConnectionStart          MethodID = ClassConnection<<16 | 10
	IDConnectionStartOk        MethodID = ClassConnection<<16 | 11
	IDConnectionSecure         MethodID = ClassConnection<<16 | 20
	IDConnectionSecureOk       MethodID = ClassConnection<<16 | 21
	IDConnectionTune           MethodID = ClassConnection<<16 | 30
	IDConnectionTuneOk         MethodID = ClassConnection<<16 | 31
	IDConnectionOpen           MethodID = ClassConnection<<16 | 40
	IDConnectionOpenOk         MethodID = ClassConnection<<16 | 41
	IDConnectionClose          MethodID = ClassConnection<<16 | 50
	IDConnectionCloseOk        MethodID = ClassConnection<<16 | 51
	IDConnectionBlocked        MethodID = ClassConnection<<16 | 60
	IDConnectionUnblocked      MethodID = ClassConnection<<16 | 61
	IDConnectionUpdateSecret   MethodID = ClassConnection<<16 | 70
	IDConnectionUpdateSecretOk MethodID = ClassConnection<<16 | 71

	IDChannelOpen    MethodID = ClassChannel<<16 | 10
	IDChannelOpenOk  MethodID = ClassChannel<<16 | 11
	IDChannelFlow    MethodID = ClassChannel<<16 | 20
	IDChannelFlowOk  MethodID = ClassChannel<<16 | 21
	IDChannelClose   MethodID = ClassChannel<<16 | 40
	IDChannelCloseOk MethodID = ClassChannel<<16 | 41

	IDAccessRequest   MethodID = ClassAccess<<16 | 10
	IDAccessRequestOk MethodID = ClassAccess<<16 | 11

	IDExchangeDeclare   MethodID = ClassExchange<<16 | 10
	IDExchangeDeclareOk MethodID = ClassExchange<<16 | 11
	IDExchangeDelete    MethodID = ClassExchange<<16 | 20
	IDExchangeDeleteOk  MethodID = ClassExchange<<16 | 21
	IDExchangeBind      MethodID = ClassExchange<<16 | 30
	IDExchangeBindOk    MethodID = ClassExchange<<16 | 31
	IDExchangeUnbind    MethodID = ClassExchange<<16 | 40
	IDExchangeUnbindOk  MethodID = ClassExchange<<16 | 51 // not 41: so it is in RabbitMQ's grammar

	IDQueueDeclare   MethodID = ClassQueue<<16 | 10
	IDQueueDeclareOk MethodID = ClassQueue<<16 | 11
	IDQueueBind      MethodID = ClassQueue<<16 | 20
	IDQueueBindOk    MethodID = ClassQueue<<16 | 21
	IDQueuePurge     MethodID = ClassQueue<<16 | 30
	IDQueuePurgeOk   MethodID = ClassQueue<<16 | 31
	IDQueueDelete    MethodID = ClassQueue<<16 | 40
	IDQueueDeleteOk  MethodID = ClassQueue<<16 | 41
	IDQueueUnbind    MethodID = ClassQueue<<16 | 50
	IDQueueUnbindOk  MethodID = ClassQueue<<16 | 51

	IDBasicQos          MethodID = ClassBasic<<16 | 10
	IDBasicQosOk        MethodID = ClassBasic<<16 | 11
	IDBasicConsume      MethodID = ClassBasic<<16 | 20
	IDBasicConsumeOk    MethodID = ClassBasic<<16 | 21
	IDBasicCancel       MethodID = ClassBasic<<16 | 30
	IDBasicCancelOk     MethodID = ClassBasic<<16 | 31
	IDBasicPublish      MethodID = ClassBasic<<16 | 40
	IDBasicReturn       MethodID = ClassBasic<<16 | 50
	IDBasicDeliver      MethodID = ClassBasic<<16 | 60
	IDBasicGet          MethodID = ClassBasic<<16 | 70
	IDBasicGetOk        MethodID = ClassBasic<<16 | 71
	IDBasicGetEmpty     MethodID = ClassBasic<<16 | 72
	IDBasicAck          MethodID = ClassBasic<<16 | 80
	IDBasicReject       MethodID = ClassBasic<<16 | 90
	IDBasicRecoverAsync MethodID = ClassBasic<<16 | 100
	IDBasicRecover      MethodID = ClassBasic<<16 | 110
	IDBasicRecoverOk    MethodID = ClassBasic<<16 | 111
	IDBasicNack         MethodID = ClassBasic<<16 | 120

	IDConfirmSelect   MethodID = ClassConfirm<<16 | 10
	IDConfirmSelectOk MethodID = ClassConfirm<<16 | 11

	IDTxSelect     MethodID = ClassTx<<16 | 10
	IDTxSelectOk   MethodID = ClassTx<<16 | 11
	IDTxCommit     MethodID = ClassTx<<16 | 20
	IDTxCommitOk   MethodID = ClassTx<<16 | 21
	IDTxRollback   MethodID = ClassTx<<16 | 30
	IDTxRollbackOk MethodID = ClassTx<<16 | 31
)

// Method is the arguments of one AMQP method.
type Method interface {
	// ID is the class and method number.
	ID() MethodID

	// args goes through the arguments, without class and method number.
	args(a *args)
}

// ErrSyntax says that a payload does not hold what its class and method promise (502 SYNTAX_ERROR).
var ErrSyntax = errors.New("malformed arguments")

// UnknownMethodError names a class and method number that 0-9-1 does not have (503 COMMAND_INVALID).
type UnknownMethodError struct{ ID MethodID }

func (e *UnknownMethodError) Error() string {
	return fmt.Sprintf("unknown method %d/%d", e.ID.Class(), e.ID.Number())
}

// PayloadID reads the method id from the payload of a method frame; 0 if it is too short for one.
func PayloadID(payload []byte) MethodID {
	if len(payload) < 4 {
		return 0
	}
	return MethodID(binary.BigEndian.Uint32(payload))
}

// Decode reads the payload of a method frame. Strings are copied; tables and long strings alias
// payload. Tables are checked through and through, so that reading them later cannot fail.
func Decode(payload []byte) (Method, error) {
	if len(payload) < 4 {
		return nil, fmt.Errorf("%w: method frame of %d bytes", ErrSyntax, len(payload))
	}
	id := PayloadID(payload)
	newMethod, ok := methodTypes[id]
	if !ok {
		return nil, &UnknownMethodError{ID: id}
	}
	m := newMethod()
	a := args{in: decoder{buf: payload[4:]}}
	m.args(&a)
	r := &a.in
	if r.deep {
		return m, fmt.Errorf("arguments of %s: %w", id, ErrTableDepth)
	}
	if r.bad {
		return m, fmt.Errorf("%w of %s", ErrSyntax, id)
	}
	if len(r.buf) != 0 {
		return m, fmt.Errorf("%w of %s: %d bytes too many", ErrSyntax, id, len(r.buf))
	}
	return m, nil
}
