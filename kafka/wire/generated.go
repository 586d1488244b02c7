package wire

import (
	"bytes"
	"fmt"
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Decode reads the body of any request but Produce and Fetch into its
// generated type. Strings are copied; byte slices alias body. Measure must have
// seen it before: the generated decoder reserves what the body claims.
func Decode(h Header, body []byte) (kmsg.Request, error) {
	req := kmsg.RequestForKey(int16(h.Key))
	if req == nil {
		return nil, &Refused{h.Key, h.Version}
	}
	req.SetVersion(h.Version)
	if err := req.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%s version %d: %w (%v)", h.Key, h.Version, ErrMalformed, err)
	}
	return req, nil
}

// Unsupported is the answer to a request that is not served, in the version asked for: error
// 35 for all of it. It is nil where Kafka's protocol has no such answer, or no such request.
func Unsupported(h Header) kmsg.Response {
	req := kmsg.RequestForKey(int16(h.Key))
	if req == nil || h.Version < 0 || h.Version > req.MaxVersion() {
		return nil
	}
	req.SetVersion(h.Version)
	res := req.ResponseKind()
	res.SetVersion(h.Version)
	code := reflect.ValueOf(res).Elem().FieldByName("ErrorCode")
	if !code.IsValid() || code.Kind() != reflect.Int16 {
		return nil
	}
	without := res.AppendTo(nil)
	code.SetInt(int64(UnsupportedVersion))
	if bytes.Equal(without, res.AppendTo(nil)) {
		return nil // this version has no place for it
	}
	return res
}
