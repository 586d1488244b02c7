package wire

import (
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill gives every field of a generated request something.
func fill(dice *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; v.Field(i).CanSet() && name != "Version" && name != "UnknownTags" {
				fill(dice, v.Field(i))
			}
		}
	case reflect.Pointer:
		if dice.IntN(4) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(dice, v.Elem())
		}
	case reflect.String:
		v.SetString("text"[:dice.IntN(5)])
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), dice.IntN(4), 5))
		for i := range v.Len() {
			fill(dice, v.Index(i))
		}
	case reflect.Bool:
		v.SetBool(dice.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(dice.Int64N(100))
	}
}

// listed counts the members of all lists.
func listedIn(v reflect.Value) (n int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			n += listedIn(v.Field(i))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			for i := range v.Len() {
				n += 1 + listedIn(v.Index(i))
			}
		}
	}
	return n
}

// generated calls fn for every key and version that has a generated decoder.
func generated(fn func(h Header)) {
	for _, s := range Supported {
		for v := s.Min; v <= s.Max && s.Key != Produce && s.Key != Fetch; v++ {
			fn(Header{Key: s.Key, Version: v})
		}
	}
}

func TestEveryLayoutIsWhatTheGeneratedCoderWrites(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	generated(func(h Header) {
		for range 50 {
			req := kmsg.RequestForKey(int16(h.Key))
			fill(dice, reflect.ValueOf(req).Elem())
			req.SetVersion(h.Version)
			body := req.AppendTo(nil)
			got, err := Measure(h, body)
			if err != nil {
				t.Fatalf("%v: %x", err, body)
			}
			again, err := Decode(h, body)
			if err != nil {
				t.Fatal(err)
			}
			if want := listedIn(reflect.ValueOf(again).Elem()); got.Elements != want {
				t.Fatalf("%s version %d: %d elements, there are %d", h.Key, h.Version, got.Elements, want)
			}
			if len(body) == 0 {
				continue
			}
			if _, err := Measure(h, body[:len(body)-1]); err == nil {
				t.Fatalf("%s version %d: the last byte is missing, and not missed", h.Key, h.Version)
			}
		}
	})
}

// allocatedBy is how many bytes a call allocates.
func allocatedBy(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Bodies of zeros and ones are lists of as many and as small elements as there can be;
// those of random bytes claim whatever they like.
func TestDecodingTakesNoMoreThanWasMeasured(t *testing.T) {
	dice := rand.New(rand.NewPCG(3, 4))
	bodies := [][]byte{}
	for _, digits := range []int{2, 3, 4, 127, 256} {
		for range 40 {
			b := make([]byte, 1+dice.IntN(8<<10))
			for i := range b {
				b[i] = byte(dice.IntN(digits))
			}
			bodies = append(bodies, b)
		}
	}
	decoded := 0
	generated(func(h Header) {
		for _, body := range bodies {
			m, err := Measure(h, body)
			if err != nil {
				continue
			}
			decoded++
			took := allocatedBy(func() { _, _ = Decode(h, body) })
			if took > uint64(m.Memory())+16<<10 {
				t.Errorf("%s version %d: a body of %d bytes took %d bytes, measured were %d (%d elements)", h.Key, h.Version, len(body), took, m.Memory(), m.Elements)
			}
		}
		for _, body := range dense(h) {
			m, err := Measure(h, body)
			if err != nil {
				t.Errorf("dense body of %s version %d: %v", h.Key, h.Version, err)
				continue
			}
			took := allocatedBy(func() { _, _ = Decode(h, body) })
			if took > uint64(m.Memory())+16<<10 {
				t.Errorf("%s version %d: %d elements in %d bytes took %d bytes, measured were %d", h.Key, h.Version, m.Elements, len(body), took, m.Memory())
			}
		}
	})
	if decoded < 100 {
		t.Errorf("only %d bodies were decoded", decoded)
	}
}

// dense are requests whose lists, one after the other, have many empty elements.
func dense(h Header) (bodies [][]byte) {
	var widen func(v reflect.Value)
	widen = func(v reflect.Value) {
		for i := range v.NumField() {
			f := v.Field(i)
			if f.Kind() != reflect.Slice || f.Type().Elem().Kind() == reflect.Uint8 {
				continue
			}
			f.Set(reflect.MakeSlice(f.Type(), 3000, 3000))
			if f.Type().Elem().Kind() == reflect.Struct {
				widen(f.Index(1))
			}
		}
	}
	req := kmsg.RequestForKey(int16(h.Key))
	widen(reflect.ValueOf(req).Elem())
	req.SetVersion(h.Version)
	return append(bodies, req.AppendTo(nil))
}

func TestClaimsThatARequestCantKeepAreRefusedBeforeAnythingIsReserved(t *testing.T) {
	claim := Header{Key: DescribeGroups, Version: 0}
	body := append([]byte{0, 0, 0xff, 0xff}, make([]byte, 65535)...) // 65,535 strings of two bytes in as many bytes
	if _, err := Measure(claim, body); err == nil {
		t.Error("twice as many elements as fit are believed")
	}
	if n := testing.AllocsPerRun(10, func() { _, _ = Measure(Header{Key: OffsetCommit, Version: 8}, []byte{1, 0, 0, 0, 0, 1, 1, 1, 0}) }); n > 0 {
		t.Errorf("measuring allocates %v times", n)
	}
}

func FuzzMeasure(f *testing.F) {
	dice := rand.New(rand.NewPCG(5, 6))
	generated(func(h Header) {
		req := kmsg.RequestForKey(int16(h.Key))
		fill(dice, reflect.ValueOf(req).Elem())
		req.SetVersion(h.Version)
		f.Add(int16(h.Key), h.Version, req.AppendTo(nil))
	})
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		s := Lookup(Key(key))
		if s == nil || !s.Serves(version) || len(body) > 64<<10 || s.Key == Produce || s.Key == Fetch {
			return
		}
		h := Header{Key: s.Key, Version: version}
		m, err := Measure(h, body)
		req, derr := Decode(h, body)
		if err != nil || derr != nil {
			return
		}
		if n := listedIn(reflect.ValueOf(req).Elem()); n != m.Elements {
			t.Fatalf("%s version %d: %d elements, measured %d", s.Key, version, n, m.Elements)
		}
	})
}
