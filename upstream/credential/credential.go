// Package credential says what CONNECT towards the broker carries for a client: the MQTT client
// id, the user name and the password; and which files have its certificate. It is pure: files,
// variables and clocks are those of who calls it.
//
// A [Book] holds all that is known: [Rules] of the configuration, whose texts are templates, and
// a [Table] with a row for each device. A Book does not change, so any number of goroutines may
// ask it; who has read a new table makes a new Book.
package credential

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"sngate/topicreg"
)

// Connect is what one CONNECT carries to say who connects (MQTT 3.1.1 section 3.1.3). No text is
// longer than MaxText.
type Connect struct {
	ClientID    string
	HasUsername bool
	Username    string
	Password    []byte // nil: none
	// Life is for how long after the connect the broker lets the password count; 0: for ever.
	Life time.Duration
	// Topics is where the broker has the topics of the client.
	Topics Topics
}

// Errors of Book.Connect, possibly wrapped.
var (
	ErrNone    = errors.New("no credentials for this client id")
	ErrTooLong = fmt.Errorf("client id, user name and password hold at most %d octets each", MaxText)
)

// Account has the templates of one or of many clients. What is none is taken from elsewhere, or
// left out.
type Account struct {
	ClientID Template // of MQTT
	Username Template
	Password Template
	Key      Template // by which the password is made where there is none, as Signer.Keys says
	// CertFile and KeyFile are the paths of the certificate that is presented in TLS, and of its
	// key: both, or none.
	CertFile, KeyFile Template
}

// Entry is the account of the clients that fit a client id or pattern, as topicreg.Match has it.
type Entry struct {
	Client string
	Account
}

// Rules are what is known of clients without a table.
type Rules struct {
	Gateway  string  // value of {gateway}
	Host     string  // value of {host}
	Default  Account // of everybody, as far as nothing else says more; a ClientID that is none is {client_id}
	Entries  []Entry // the first that fits goes before the row in the table
	Required bool    // a client without entry and row has no credentials
	Topics   TopicMap
	Signer   *Signer // makes the passwords that are not given; nil: nobody does
}

// Book knows the credentials of all clients.
type Book struct {
	rules Rules
	table *Table // nil: none
}

// NewBook joins rules with a table, which may be nil. Both are the Book's from then on.
func NewBook(rules Rules, table *Table) *Book { return &Book{rules: rules, table: table} }

// Connect returns what CONNECT carries for a client that connects now, by the client id of its
// device. The error is ErrNone, ErrTooLong or ErrTopics; it shows no value.
func (b *Book) Connect(clientID string, now time.Time) (Connect, error) {
	of := values{client: clientID, now: now, book: b, row: b.table.row(clientID)}
	who, known := b.account(&of)
	if !known && b.rules.Required {
		return Connect{}, ErrNone
	}
	var c Connect
	var err error
	if c.ClientID, err = who.ClientID.fill(&of); err != nil {
		return Connect{}, err
	}
	if c.Username, err = who.Username.fill(&of); err != nil {
		return Connect{}, err
	}
	if c.Topics, err = b.topics(&of); err != nil {
		return Connect{}, err
	}
	password, err := who.Password.fill(&of)
	if err != nil {
		return Connect{}, err
	}
	if password == "" && b.rules.Signer != nil {
		if password, err = b.signature(&c, &who, &of); err != nil {
			return Connect{}, err
		}
	}
	if of.expires {
		c.Life = b.rules.Signer.Life
	}
	if c.HasUsername = c.Username != ""; password != "" {
		if !c.HasUsername {
			return Connect{}, fmt.Errorf("%w: there is a password without a user name", ErrNone)
		}
		c.Password = []byte(password)
	}
	return c, nil
}

// signature makes the password of a client.
func (b *Book) signature(c *Connect, who *Account, of *values) (string, error) {
	key, err := who.Key.fill(of)
	if err != nil {
		return "", err
	}
	of.connect, of.expires = c, true
	return b.rules.Signer.sign(key, of)
}

// account chooses the templates of a client; known: there is more than the default.
func (b *Book) account(of *values) (who Account, known bool) {
	who = b.rules.Default
	if who.ClientID.None() {
		who.ClientID = Template{[]part{{name: PlaceholderClientID}}}
	}
	own := Account{
		Username: Literal(b.table.value(of.row, ColumnUsername)),
		Password: Literal(b.table.value(of.row, ColumnPassword)),
		Key:      Literal(b.table.value(of.row, ColumnKey)),
		CertFile: Literal(b.table.value(of.row, ColumnCertFile)),
		KeyFile:  Literal(b.table.value(of.row, ColumnKeyFile)),
	}
	i := slices.IndexFunc(b.rules.Entries, func(e Entry) bool { return topicreg.Match(e.Client, of.client) })
	if i >= 0 {
		own = b.rules.Entries[i].Account
	}
	for _, t := range []struct{ to, from *Template }{
		{&who.ClientID, &own.ClientID}, {&who.Username, &own.Username}, {&who.Password, &own.Password}, {&who.Key, &own.Key},
		{&who.CertFile, &own.CertFile}, {&who.KeyFile, &own.KeyFile},
	} {
		if !t.from.None() {
			*t.to = *t.from
		}
	}
	return who, i >= 0 || of.row != nil
}

// values are what the placeholders stand for, for one client.
type values struct {
	client  string
	now     time.Time
	book    *Book
	row     []string // nil: none
	connect *Connect // what is known of it when the password is made; nil before
	expires bool     // something of it says when it ends
}

// value returns the value of a placeholder; "" if there is none.
func (v *values) value(name string) string {
	switch name {
	case PlaceholderClientID:
		return v.client
	case PlaceholderGateway:
		return v.book.rules.Gateway
	case PlaceholderHost:
		return v.book.rules.Host
	case PlaceholderNow, PlaceholderNowMS, PlaceholderExpiry:
		v.expires = v.expires || name == PlaceholderExpiry
		return v.moment(name)
	}
	if v.connect != nil {
		switch name {
		case PlaceholderMQTTClientID:
			return v.connect.ClientID
		case PlaceholderUsername:
			return v.connect.Username
		}
	}
	return v.book.table.value(v.row, name)
}
