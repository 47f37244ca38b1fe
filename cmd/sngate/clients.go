package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"sngate/conf"
	"sngate/gateway/admin"
)

const (
	apiTimeout   = 15 * time.Second
	apiMaxAnswer = 64 << 20 // octets
	apiPage      = 1000
)

// apiClient asks a running gateway.
type apiClient struct {
	config, address string
	json            bool
}

func (c *apiClient) options() options {
	return options{
		{[]string{"-c", "--config"}, "FILE", "configuration file with ops.address, default ./sngate.toml if it is there", toText(&c.config)},
		{[]string{"--ops"}, "ADDRESS", "host:port of the gateway's ops.address, instead of the one in the configuration", toText(&c.address)},
		{[]string{"--json"}, "", "print what the gateway answers, as JSON", toSwitch(&c.json, true)},
	}
}

func setupClients() (options, action) {
	c := &apiClient{}
	return c.options(), func(ctx context.Context, s streams, operands []string) error {
		if err := noOperands(operands); err != nil {
			return err
		}
		return c.list(ctx, s)
	}
}

func setupClient() (options, action) {
	c := &apiClient{}
	return c.options(), func(ctx context.Context, s streams, operands []string) error {
		switch {
		case len(operands) == 0:
			return usagef("no client id given")
		case len(operands) > 1:
			return usagef("unexpected argument %q: one client id is shown at a time", operands[1])
		}
		return c.show(ctx, s, operands[0])
	}
}

// host finds where the gateway answers.
func (c *apiClient) host() (string, error) {
	address := c.address
	if address == "" {
		path, err := configPath(c.config)
		if err != nil {
			return "", err
		}
		cfg, _, err := conf.Load(path, os.Environ())
		if err != nil {
			return "", fmt.Errorf("%w\n(--ops ADDRESS does without the configuration)", err)
		}
		if address = cfg.Ops.Address; address == "" {
			return "", fmt.Errorf("ops.address is empty in %s: the gateway answers no questions", configName(path))
		}
	}
	return dialable(address), nil
}

// get asks for a path, which is escaped, and returns the body of the answer.
func (c *apiClient) get(ctx context.Context, path string) (status int, body []byte, err error) {
	host, err := c.host()
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+path, nil)
	if err != nil {
		return 0, nil, err
	}
	// No proxy: the address is the gateway's.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, fmt.Errorf("no answer of a gateway at %s: %w", host, err)
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, apiMaxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("the answer of the gateway at %s: %w", host, err)
	}
	return response.StatusCode, body, nil
}

// apiFault is the error for an answer that is not what was asked for.
func apiFault(status int, body []byte) error {
	var fault struct{ Error string }
	if json.Unmarshal(body, &fault) == nil && fault.Error != "" {
		return fmt.Errorf("the gateway answers: %s", fault.Error)
	}
	return fmt.Errorf("the answer has status %d: is this ops.address of a gateway?", status)
}

// list prints all sessions.
func (c *apiClient) list(ctx context.Context, s streams) error {
	all := []admin.SessionInfo{}
	for cursor := ""; ; {
		status, body, err := c.get(ctx, fmt.Sprintf("/api/v1/sessions?limit=%d&cursor=%s", apiPage, url.QueryEscape(cursor)))
		if err != nil {
			return err
		}
		var page admin.SessionPage
		if status != http.StatusOK || json.Unmarshal(body, &page) != nil {
			return apiFault(status, body)
		}
		all = append(all, page.Sessions...)
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	if c.json {
		enc := json.NewEncoder(s.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(admin.SessionPage{Sessions: all})
	}
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CLIENT ID\tSTATE\tADDRESS\tLAST HEARD\tTOPIC IDS\tSUBSCRIPTIONS\tHELD\tSPOOLED\tLAST REFUSAL")
	for _, i := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\n", shown(i.ClientID), i.State, orDash(shown(i.Address)), heard(i.LastHeardSeconds),
			i.TopicCount, i.SubscriptionCount, i.Held.Messages, i.Spooled.Messages, lastRefusal(i.LastRefusal))
	}
	return w.Flush()
}

func lastRefusal(r *admin.Refusal) string {
	if r == nil {
		return "-"
	}
	return fmt.Sprintf("%s, %s", r.Reason, ago(r.AgoSeconds))
}

// show prints one session, or why there is none.
func (c *apiClient) show(ctx context.Context, s streams, clientID string) error {
	status, body, err := c.get(ctx, "/api/v1/sessions/"+escapeID(clientID))
	if err != nil {
		return err
	}
	var d admin.SessionDetail
	switch {
	case status == http.StatusNotFound && json.Valid(body):
		return c.unknown(s, clientID, body)
	case status != http.StatusOK || json.Unmarshal(body, &d) != nil:
		return apiFault(status, body)
	case c.json:
		_, err = s.stdout.Write(body)
		return err
	}
	printSession(s.stdout, &d)
	return nil
}

// unknown tells that there is no session, and what the device was refused.
func (c *apiClient) unknown(s streams, clientID string, body []byte) error {
	if c.json {
		if _, err := s.stdout.Write(body); err != nil {
			return err
		}
		return &exitError{exitUnknown}
	}
	var answer struct{ Refusals []admin.Refusal }
	_ = json.Unmarshal(body, &answer) // what cannot be read is no refusal
	fmt.Fprintf(s.stderr, "sngate client: the gateway has no session of %s\n", shown(clientID))
	printRefusals(s.stdout, answer.Refusals)
	return &exitError{exitUnknown}
}

// escapeID escapes a client id as one segment of a path. "." and ".." are escaped too, or
// they would be taken for directions.
func escapeID(id string) string {
	return strings.ReplaceAll(url.PathEscape(id), ".", "%2E")
}

func printSession(w io.Writer, d *admin.SessionDetail) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-18s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("client id", "%s", shown(d.ClientID))
	row("state", "%s", d.State)
	row("address", "%s", orDash(shown(d.Address)))
	row("last heard", "%s", heard(d.LastHeardSeconds))
	row("keep-alive", "%s", time.Duration(d.KeepAliveSeconds)*time.Second)
	if d.SleepSeconds > 0 {
		row("sleeps for", "%s", time.Duration(d.SleepSeconds)*time.Second)
	}
	row("clean session", "%t", d.CleanSession)
	row("broker connection", "%s", d.BrokerConnection)
	if d.WillTopic != "" {
		row("will topic", "%s", shown(d.WillTopic))
	}
	row("in flight", "%d messages of the device wait for an answer", d.InFlight)
	row("held", "%d messages for the device, %d octets", d.Held.Messages, d.Held.Bytes)
	row("spooled", "%d messages of the device, %d octets", d.Spooled.Messages, d.Spooled.Bytes)
	fmt.Fprintf(w, "\ntopic ids (%d)\n", len(d.Topics))
	for _, t := range d.Topics {
		note := ""
		if !t.Known {
			note = "  (the device has not been told)"
		}
		fmt.Fprintf(w, "  %5d  %s%s\n", t.ID, shown(t.Name), note)
	}
	fmt.Fprintf(w, "\nsubscriptions (%d)\n", len(d.Subscriptions))
	for _, sub := range d.Subscriptions {
		fmt.Fprintf(w, "  QoS %d  %s\n", sub.QoS, shown(sub.Filter))
	}
	fmt.Fprintln(w)
	printRefusals(w, d.Refusals)
}

func printRefusals(w io.Writer, list []admin.Refusal) {
	fmt.Fprintf(w, "dropped or refused (%d)\n", len(list))
	for _, r := range list {
		what := r.Packet
		if r.TopicID != nil {
			what += fmt.Sprintf(" topic id %d (%s)", *r.TopicID, r.TopicIDType)
		}
		if r.Topic != "" {
			what += " " + shown(r.Topic)
		}
		fmt.Fprintf(w, "  %s: %s, %d times, last %s\n", r.Reason, orDash(strings.TrimSpace(what)), r.Times, ago(r.AgoSeconds))
		if r.Advice != "" {
			fmt.Fprintf(w, "      %s\n", shown(r.Advice))
		}
	}
}

// shown returns text as a terminal can show it: quoted if anything in it cannot be printed.
func shown(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.QuoteToASCII(text)
	}
	return text
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func ago(seconds float64) string {
	return time.Duration(seconds*float64(time.Second)).Round(time.Second).String() + " ago"
}

func heard(seconds *float64) string {
	if seconds == nil {
		return "not since the gateway started"
	}
	return ago(*seconds)
}
