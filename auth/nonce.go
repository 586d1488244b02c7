package auth

import (
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"strings"
)

// librdkafka before 2.6.1, which Debian's kcat has, sets its own nonce before the whole one
// once more in its last message (librdkafka's pull request 4895):
//
//	RFC 5802      c=biws,r=<client's><server's>,p=…
//	librdkafka    c=biws,r=<client's><client's><server's>,p=…
//
// Kafka's brokers have taken that but for those of version 4. It is as good as the other: what
// the server has chosen is in it, and the proof is made of it.

var errProof = errors.New("the proof is wrong")

// repeated checks a last message whose nonce is repeated, and answers it. The library takes
// none, and has found the message wrong already.
func (x *Exchange) repeated(final string) (string, error) {
	header, bare, nonce := splitFirst(x.said)
	shown, _, _ := strings.Cut(strings.TrimPrefix(x.answered, "r="), ",")
	signed, proof, _ := strings.Cut(final, ",p=")
	if signed != "c="+base64.StdEncoding.EncodeToString([]byte(header))+",r="+nonce+shown {
		return "", errProof
	}
	generator := generators[x.mechanism]
	mac := func(key []byte) []byte {
		h := hmac.New(generator, key)
		h.Write([]byte(bare + "," + x.answered + "," + signed))
		return h.Sum(nil)
	}
	key, err := base64.StdEncoding.DecodeString(proof)
	signature := mac(x.shown.StoredKey)
	if err != nil || len(key) != len(signature) {
		return "", errProof
	}
	for i := range key {
		key[i] ^= signature[i]
	}
	h := generator()
	h.Write(key)
	if !hmac.Equal(h.Sum(nil), x.shown.StoredKey) {
		return "", errProof
	}
	return "v=" + base64.StdEncoding.EncodeToString(mac(x.shown.ServerKey)), nil
}

// splitFirst takes a first message apart, which the library has taken:
//
//	n,,n=user,r=nonce[,extensions]
//	header bare…
func splitFirst(said string) (header, bare, nonce string) {
	fields := strings.SplitN(said, ",", 5)
	if len(fields) < 4 {
		return "", "", ""
	}
	header = fields[0] + "," + fields[1] + ","
	return header, said[len(header):], strings.TrimPrefix(fields[3], "r=")
}
