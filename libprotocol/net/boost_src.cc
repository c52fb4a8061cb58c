// The compiled half of Boost.Asio and Boost.Beast, once: translation units that
// use them compile in a third of the time. See the target muster_beast.

#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
