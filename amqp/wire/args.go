package wire

// args goes through the arguments of a method in their order, and either reads them off in
// or appends them to out: so each layout stands once, in the method's args. The types have
// the names that the specification gives them.
type args struct {
	in     decoder
	encode bool
	out    []byte
}

// noArguments is embedded by methods that have none.
type noArguments struct{}

func (noArguments) args(*args) {}

func (a *args) octet(v *uint8) {
	if a.encode {
		a.out = append(a.out, *v)
	} else {
		*v = a.in.u8()
	}
}

func (a *args) short(v *uint16) {
	if a.encode {
		a.out = appendU16(a.out, *v)
	} else {
		*v = a.in.u16()
	}
}

func (a *args) long(v *uint32) {
	if a.encode {
		a.out = appendU32(a.out, *v)
	} else {
		*v = a.in.u32()
	}
}

func (a *args) longlong(v *uint64) {
	if a.encode {
		a.out = appendU64(a.out, *v)
	} else {
		*v = a.in.u64()
	}
}

func (a *args) shortstr(v *string) {
	if a.encode {
		a.out = appendShort(a.out, *v)
	} else {
		*v = a.in.short()
	}
}

func (a *args) longstr(v *[]byte) {
	if a.encode {
		a.out = appendLong(a.out, *v)
	} else {
		*v = a.in.long()
	}
}

func (a *args) table(v *Table) {
	if a.encode {
		a.out = appendLong(a.out, *v)
	} else {
		*v = a.in.table()
	}
}

func (a *args) code(v *Code) { a.short((*uint16)(v)) }

// bits are up to eight bits that share an octet, the first one lowest.
func (a *args) bits(v ...*bool) {
	if a.encode {
		var octet uint8
		for i, b := range v {
			if *b {
				octet |= 1 << i
			}
		}
		a.out = append(a.out, octet)
		return
	}
	octet := a.in.u8()
	for i, b := range v {
		*b = octet>>i&1 != 0
	}
}

func (a *args) reservedShort() {
	var v uint16
	a.short(&v)
}

func (a *args) reservedShortstr() {
	if a.encode {
		a.out = append(a.out, 0)
	} else {
		a.in.shortBytes()
	}
}

func (a *args) reservedLongstr() {
	var v []byte
	a.longstr(&v)
}
