"""Contract suites for systems, distributions, simulators and networks of the package or of a user.

    def test_my_system():
        print(check_system(MySystem(T2=Uniform(low=0.02, high=0.5))))

Each function runs all that holds for every member of its kind, and reports what it checked and what
it left out, and why. A broken promise raises :class:`ContractError`, which names the object, the
promise, what came instead, and the call that shows it.
"""

from ipads_stream.testing.contract import ContractError as ContractError
from ipads_stream.testing.contract import Report as Report
from ipads_stream.testing.distributions import check_distribution as check_distribution
from ipads_stream.testing.nets import check_net as check_net
from ipads_stream.testing.noise import check_noise as check_noise
from ipads_stream.testing.simulators import check_simulator as check_simulator
from ipads_stream.testing.systems import check_system as check_system
