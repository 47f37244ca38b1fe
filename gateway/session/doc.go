// Package session is the gateway's side of one MQTT-SN device: a pure state
// machine, (environment, input) -> outputs. It has no lock, goroutine, socket, clock,
// logger or random source; the same inputs give the same outputs.
//
// A shell owns the Session. It feeds it datagrams of the device ([Session.Datagram]),
// events of its connection to the broker ([Session.Upstream]) and the passing of time
// ([Session.Advance], wanted at [Session.Deadline]), and carries out what the step left
// in [Out]: datagrams for the device, and actions. What the session has to know of its
// surroundings comes with each step, as an [Env].
//
// It knows no version of MQTT-SN. The device's messages come to it, and go out, as
// [dialogue.Message], by way of the [dialogue.Dialogue] that the session is made with. They have
// the names of MQTT-SN 1.2, as have the sections that comments cite.
//
// # States
//
// The table lists what changes the state; anything else is handled in it. "CONNECT" is
// one that [CheckConnect] has accepted.
//
//	from                 event                                to             done
//	-------------------  -----------------------------------  -------------  ------------------------------------------
//	new, disconnected,   CONNECT, Will=1                      will_topic     WILLTOPICREQ
//	lost                 CONNECT, Will=0                      connecting     open the broker session
//	will_topic           WILLTOPIC                            will_msg       WILLMSGREQ
//	will_topic           empty WILLTOPIC                      connecting     no will; open the broker session
//	will_msg             WILLMSG                              connecting     open the broker session
//	will_topic,will_msg  no answer to Nretry repeats          gone or        nothing is sent
//	                                                          disconnected
//	will_topic,will_msg  the same, of a connected device      lost           DISCONNECT; close with will
//	will_topic,will_msg, DISCONNECT                           gone or        DISCONNECT; close without will
//	connecting                                                disconnected
//	connecting           broker accepts                       active         CONNACK 0x00, deliver what is held
//	connecting           broker refuses or cannot be reached  gone or        CONNACK 0x01 or 0x03
//	                                                          disconnected
//	active               CONNECT as accepted, nothing since   active         CONNACK 0x00 again
//	                     (Will=0), or within a second
//	active               CONNECT, CleanSession=1 or changed   connecting     open the broker session anew
//	active               CONNECT, CleanSession=0 as before    active         CONNACK 0x00, topic ids told again
//	asleep, awake        CONNECT, CleanSession as before,     active         CONNACK 0x00, deliver what is held
//	                     from the same address, and
//	                     CleanSession=1 without a will
//	asleep, awake        CONNECT, CleanSession=0, otherwise   active         CONNACK 0x00, topic ids told again
//	asleep, awake        CONNECT, CleanSession=1 otherwise,   connecting     open the broker session anew
//	                     or changed
//	active, awake,       DISCONNECT with duration             asleep         DISCONNECT; hold messages
//	asleep
//	active, asleep,      DISCONNECT                           disconnected   DISCONNECT; close without will
//	awake
//	asleep               PINGREQ                              awake          deliver what is held
//	awake                all delivered, barrier passed        asleep         PINGRESP
//	active               silence: keep-alive + tolerance      lost           DISCONNECT; close with will
//	asleep, awake        silence: duration + tolerance        lost           DISCONNECT; close with will
//	active, awake        no answer to Nretry repeats, nor     lost           DISCONNECT; close with will
//	                     anything else
//
// In will_topic and will_msg a CONNECT waits whose will is still to be asked for. A version
// whose CONNECT carries the will has nothing to ask.
//
// A CONNECT with Will=1 from a connected device goes through will_topic and will_msg
// first. A disconnected or lost session is kept if its CONNECT had CleanSession=0.
//
// A sleeper's CONNECT with the CleanSession it had is taken as "I am staying awake":
// subscriptions, topic ids, will and held messages stay, also for CleanSession=1, the
// keep-alive is the new one, and Will=1 replaces the will. From another address, or with
// CleanSession=1 and a will, it has restarted. Any change of CleanSession begins anew:
// nothing of a clean session outlives it.
//
// While [EventParked] is the last thing known, the device is sent nothing it has not
// asked for, but for the probe of one without keep-alive, or whose session is contested,
// and its loss is silent.
//
// # Where the device is
//
// With Config.ProveAddress a session does not believe that the device is at the address
// its datagrams come from before it has answered from there with a MsgId that was drawn
// for that address. Until then what is sent there, beside answers, is bounded by what has
// come (reach.go). New, [Session.AddressChanged], [Session.AddressReused] and the end of a
// session begin anew; the shell passes a random number to [Session.StartMsgIDs] and
// [Session.RestartMsgIDs], and says [Session.Unreachable]. Where an address may not change
// while the session is live, [Session.Contested] finds out whether the device is still
// there. [Session.Adopt] moves a session whose device has held its will dialogue elsewhere.
//
// # Footprint
//
// What a device makes the gateway remember beside messages is counted ([Session.Footprint]) and
// bounded by Env.FootprintLimit.
//
// # What is acknowledged
//
// A QoS 1 or 2 PUBLISH of the device is acknowledged when the broker has acknowledged
// it; a QoS 1 or 2 message of the broker is acknowledged when the device has. What is
// held for a device is therefore still the broker's. A message that can never be
// delivered (too large, refused by the device, never answered) is acknowledged and
// counted, or the broker would send it for ever.
//
// # Who answers for a message
//
// A message of QoS 1 or 2 for the device (custodian), held or on its way:
//
//	from      event                                   to        done
//	--------  --------------------------------------  --------  ---------------------------------------
//	-         it comes from the broker                brokers
//	-         restart, it is in the store             ours
//	brokers   the device sleeps, the store has room   storing   its record goes to the store
//	brokers   the device has it                       -         acknowledged to the broker
//	brokers   the device's connection ends            -         the broker sends it again
//	storing   it is stored                            ours      acknowledged to the broker
//	storing   the store has not taken it              brokers   its record is removed
//	storing   the device has it                       -         acknowledged, its record is removed
//	storing   the device's connection ends            -         its record is removed
//	ours      the device has it                       -         its record is removed
//	ours      the connection ends, CleanSession=0     ours
//	ours      the session is forgotten                -         its record is removed
//
// A message of QoS 1 or 2 of the device (upState), in the window or in the spool. It has one
// custodian at each moment. While relaying and refused that is the device: the link has the
// message, the session only what it takes to answer, and what the link loses the device sends
// again. From the record on it is the spool, whose messages the link has on loan while sent,
// received and released: it may lose them with the process, and the spool hands them over once
// more, under the same Action.Exchange. Without a record, a message of QoS 2 that is answered is
// the broker's. The link tells of each how it ended; ActionRetract takes one back, and from
// then on the link does not know it.
//
//	from      event                                   to        done
//	--------  --------------------------------------  --------  ---------------------------------------
//	-         PUBLISH, the broker takes it            relaying  to the link
//	-         PUBLISH for the spool                   saving    its record goes to the store
//	-         restart, it is in the store             waiting
//	relaying  the broker has it, QoS 1                -         PUBACK
//	relaying  the broker has it, QoS 2                answered  PUBREC
//	relaying  the broker does not answer              refused   PUBACK "congestion"
//	relaying  the connection is lost, with a spool    saving    back from the link
//	refused   the device repeats it                   relaying
//	refused   the broker has it, QoS 1                -
//	refused   the broker has it, QoS 2                answered
//	saving    it is stored                            waiting   PUBACK; PUBREC, and answered in the window
//	saving    the store has not taken it              -         PUBACK "congestion"
//	waiting   there is a connection, and its turn     sent      to the link
//	waiting   it is too old, or makes room            -         its record is removed
//	sent      the link has no room                    waiting
//	sent      the broker has it, QoS 1                -         its record is removed
//	sent      PUBREC                                  received  to the store, that it has come
//	received  that is stored                          released  PUBREL
//	received  the broker has forgotten the session    sent
//	released  PUBCOMP                                 -         its record is removed
//	released  the broker has forgotten the session    sent
//	answered  PUBREL of the device                    finished  PUBCOMP
//	finished  late duplicates cannot come any more    -
//
// # With a store
//
// Where the shell has a store (Config.Durable), a step puts out records of what a
// restart of the gateway must not forget, and what is acknowledged on their strength
// waits for [EventStored]. The rule of what is committed before what is in
// docs/RELIABILITY.md. A new address, and that it is proven, are stored within a second,
// and nothing waits for that. A wake of a sleeper from where it was, a QoS 0 message and a
// QoS 1 message relayed while the broker answers store nothing.
//
// The spool takes the device's messages of QoS 2, and all others of QoS 1 while the
// broker is away or while older ones wait, so that they stay in order. When the
// connection of the device ends, that to the broker stays until the spool is empty.
//
// A store that fails refuses records: new topic ids and subscriptions are answered with
// "congestion", held messages stay the broker's, QoS 2 is relayed as without a store, and
// CONNACK, UNSUBACK, DISCONNECT and the answers to a will are sent all the same. When it works
// again, [Session.Snapshot] puts the whole session there.
//
// After a restart [Session.Load] reads the records and [Session.Restore] rebuilds the session.
package session
