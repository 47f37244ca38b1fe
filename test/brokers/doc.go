// Package brokers tests sngate with the brokers it will meet: mosquitto, RabbitMQ, NATS,
// ejabberd, mochi and the built-in one, each as a process of its own on free loopback
// ports and in temporary directories, ended by process id.
//
// "make brokers" runs the tests; they have the build tag "brokers", because they take
// minutes and need programs that nothing else needs. A broker that cannot be started is a
// failure, never a skip. What each broker does is measured with raw MQTT and compared with
// the table in docs/BROKERS.md.
package brokers
