package session

// A PUBLISH or PUBREL that the device does not answer is sent again, and then given up if
// the device lives: it has said something else meanwhile. Otherwise the device is lost.

import "sngate/gateway/session/dialogue"

// onRetry sends the unanswered PUBLISH or PUBREL again, or gives it or the device up after
// RetryCount repeats (MQTT-SN 1.2 section 6.13, mirrored for the gateway). It returns why the
// device is lost, if it is.
func (dl *downlink) onRetry(st *step) (lost Reason) {
	if !dl.retry.again(st.Now, dl.s.cfg) {
		if !dl.unanswered(st) {
			return ReasonRetriesExhausted
		}
		return ReasonNone
	}
	switch {
	case dl.delivery.phase == publishing && dl.delivery.before >= dl.s.cfg.patience():
		dl.giveUp(st, ReasonUnanswered)
		dl.pump(st)
	case !dl.s.addr.affords(st, st.size(dl.delivery.message())):
		dl.s.addr.prove(st)
	default:
		if dl.retry.tries == 1 {
			dl.delivery.heard = false // it may have been on its way before
		}
		dl.repeatDelivery(st)
		dl.askForLife(st, dl.retry.tries, dl.delivery.heard)
	}
	return ReasonNone
}

// unanswered handles a PUBLISH or PUBREL whose repetitions are used up: a device that lives
// is sent it again, or it is given up. It reports false if the device does not live.
func (dl *downlink) unanswered(st *step) bool {
	d := &dl.delivery
	switch {
	case d.phase == idle || !d.heard:
		return false
	case d.phase == releasing:
		dl.giveUpRelease(st)
		dl.pump(st)
	case d.count() >= dl.s.cfg.patience():
		dl.giveUp(st, ReasonUnanswered)
		dl.pump(st)
	default:
		d.attempts = attempts{before: d.count()} // once more as often
		dl.await(st.Now)
		dl.repeatDelivery(st)
	}
	return true
}

// repeatDelivery sends the unanswered step again.
func (dl *downlink) repeatDelivery(st *step) {
	d := &dl.delivery
	switch d.phase {
	case publishing:
		if d.idType == dialogue.NormalTopic {
			dl.s.ids.topics.Touch(d.topicID, st.Now)
		}
		dl.writePublish(st, true)
	case releasing:
		st.retry(dialogue.PubRel)
		dl.writePubRel(st)
	}
}

// message is what repeatDelivery sends, but for what does not change its length.
func (d *delivery) message() dialogue.Message {
	if d.phase == publishing {
		return d.msg.publish()
	}
	return dialogue.Message{Kind: dialogue.PubRel}
}
