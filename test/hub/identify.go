package hub

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hello is what a hub looks at to know who connects.
type hello struct {
	clientID string
	username string
	password string
	secure   bool
	name     string // common name of the client's certificate; "" without one
}

// identity is who has connected.
type identity struct {
	device  *Device
	session string    // by which the hub knows the session
	until   time.Time // when the hub ends the connection; zero: never
}

func broken(rule Rule, detail string) (identity, *Violation) {
	return identity{}, &Violation{Rule: rule, Detail: detail}
}

// device finds one of those that were created.
func (h *Hub) device(is func(*Device) bool) *Device {
	if i := slices.IndexFunc(h.o.Devices, func(d Device) bool { return is(&d) }); i >= 0 {
		return &h.o.Devices[i]
	}
	return nil
}

func (h *Hub) deviceByID(id string) *Device {
	return h.device(func(d *Device) bool { return d.ID == id })
}

// byCertificate wants a certificate with the client id as its name.
func byCertificate(h *Hub, c *hello) (identity, *Violation) {
	if c.name == "" {
		return broken(RuleCertificate, "there is none")
	}
	d := h.deviceByID(c.clientID)
	if d == nil || c.name != c.clientID {
		return broken(RuleClientID, "the certificate is that of "+strconv.Quote(c.name))
	}
	return identity{device: d, session: c.clientID}, nil
}

// byAuthenticationName wants a certificate with the name of a client, which is the user name too.
func byAuthenticationName(h *Hub, c *hello) (identity, *Violation) {
	if c.name == "" {
		return broken(RuleCertificate, "there is none")
	}
	d := h.deviceByID(c.name)
	if d == nil || c.username != c.name {
		return broken(RuleUsername, "it is not the authentication name "+strconv.Quote(c.name))
	}
	return identity{device: d, session: c.clientID}, nil
}

// bySAS wants a shared access signature, or the certificate of the device.
func bySAS(h *Hub, c *hello) (identity, *Violation) {
	d := h.deviceByID(c.clientID)
	if d == nil {
		return broken(RuleClientID, "there is no such device")
	}
	if want := h.o.Host + "/" + d.ID + "/?api-version="; !strings.HasPrefix(c.username, want) || len(c.username) == len(want) {
		return broken(RuleUsername, "want "+want+"...")
	}
	if c.password == "" && c.name == c.clientID {
		return identity{device: d, session: c.clientID}, nil
	}
	token, ok := strings.CutPrefix(c.password, "SharedAccessSignature ")
	fields, err := url.ParseQuery(token)
	if !ok || err != nil {
		return broken(RuleSignature, "the password is no shared access signature")
	}
	if fields.Get("sr") != h.o.Host+"/devices/"+d.ID {
		return broken(RuleSignature, "it is for the resource "+strconv.Quote(fields.Get("sr")))
	}
	text := url.QueryEscape(fields.Get("sr")) + "\n" + fields.Get("se")
	given, err := base64.StdEncoding.DecodeString(fields.Get("sig"))
	if err != nil || !hmac.Equal(given, mac(sha256.New, d.Key, text)) {
		return broken(RuleSignature, "it is not that of the device's key")
	}
	return until(identity{device: d, session: c.clientID}, fields.Get("se"))
}

// byUserNameHMAC wants the signature of the user name, which has the time in it when it ends.
func byUserNameHMAC(h *Hub, c *hello) (identity, *Violation) {
	d := h.device(func(d *Device) bool { return d.Product+d.Name == c.clientID })
	if d == nil {
		return broken(RuleClientID, "there is no such device")
	}
	parts := strings.Split(c.username, ";")
	if len(parts) != 4 || parts[0] != c.clientID || parts[1] == "" || parts[2] == "" {
		return broken(RuleUsername, "want product and device;sdkappid;connid;expiry")
	}
	if c.secure && c.name == c.clientID {
		return until(identity{device: d, session: c.clientID}, parts[3])
	}
	text, kind, _ := strings.Cut(c.password, ";")
	algorithm := hashes[kind]
	given, err := hex.DecodeString(text)
	if algorithm == nil || err != nil || !hmac.Equal(given, mac(algorithm, d.Key, c.username)) {
		return broken(RuleSignature, "it is not that of the device's key")
	}
	return until(identity{device: d, session: c.clientID}, parts[3])
}

var hashes = map[string]func() hash.Hash{"hmacsha1": sha1.New, "hmacsha256": sha256.New}

// bySortedFields wants the signature of all fields, in the order of their names.
func bySortedFields(h *Hub, c *hello) (identity, *Violation) {
	parts := strings.Split(c.clientID, "|")
	if len(parts) != 3 || parts[0] == "" || len(parts[0]) > 64 || parts[2] != "" {
		return broken(RuleClientID, "want id|securemode=..,signmethod=..|")
	}
	options := make(map[string]string)
	for pair := range strings.SplitSeq(parts[1], ",") {
		name, value, _ := strings.Cut(pair, "=")
		options[name] = value
	}
	if options["securemode"] != "2" {
		return broken(RuleClientID, "securemode is not 2, for TLS")
	}
	name, product, _ := strings.Cut(c.username, "&")
	d := h.device(func(d *Device) bool { return d.Name == name && d.Product == product })
	if d == nil {
		return broken(RuleUsername, "want device&product")
	}
	text := "clientId" + parts[0] + "deviceName" + name + "productKey" + product
	if at := options["timestamp"]; at != "" {
		text += "timestamp" + at
	}
	algorithm := hashes[options["signmethod"]]
	given, err := hex.DecodeString(c.password)
	if algorithm == nil || err != nil || !hmac.Equal(given, mac(algorithm, d.Key, text)) {
		return broken(RuleSignature, "it is not that of the device's secret")
	}
	return identity{device: d, session: product + "/" + name}, nil
}

// byPassword wants a user name and its password.
func byPassword(h *Hub, c *hello) (identity, *Violation) {
	d := h.device(func(d *Device) bool { return d.Username == c.username && c.username != "" })
	if d == nil {
		return broken(RuleUsername, "there is no such user")
	}
	if subtle.ConstantTimeCompare([]byte(d.Password), []byte(c.password)) != 1 {
		return broken(RuleSignature, "it is not the password of the user")
	}
	return identity{device: d, session: c.clientID}, nil
}

// until lets an identity end at a time in seconds.
func until(who identity, seconds string) (identity, *Violation) {
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return broken(RuleSignature, "it does not say when it ends")
	}
	if who.until = time.Unix(n, 0); !time.Now().Before(who.until) {
		return broken(RuleExpired, "at the connect")
	}
	return who, nil
}

func mac(algorithm func() hash.Hash, key []byte, text string) []byte {
	h := hmac.New(algorithm, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
