from course_lib.widgets.round_trip import RoundTrip


def test_each_call_waits_for_its_own_number():
    trip, done = RoundTrip(), []
    for name in "abc":
        trip.then(lambda name=name: done.append(name))
    trip.back.value = 1
    assert done == ["a"]
    trip.back.value = 3  # the page may leave one out when the next has come
    assert done == ["a", "b", "c"]
